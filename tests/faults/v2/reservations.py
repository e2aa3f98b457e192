"""Inventory's handler in its second version: it reads both, by making a v1 of each v2. A handler that is deployed
before the first v2 is written never meets a type that it does not know."""

from collections.abc import Sequence
from dataclasses import replace

from inventory import reservations
from messaging.envelope import Envelope
from orders.messages import Line, OrderPlaced
from tests.faults.v2.messages import OrderPlacedV2


def handle(envelopes: Sequence[Envelope]) -> None:
    reservations.handle([_as_v1(envelope) for envelope in envelopes])


def _as_v1(envelope: Envelope) -> Envelope:
    if envelope.message_type != OrderPlacedV2.message_type:
        return envelope
    placed = OrderPlacedV2.read(envelope)
    lines = [Line(sku=item.sku, quantity=item.units) for item in placed.items]
    payload = OrderPlaced(order_id=placed.order_id, lines=lines)
    return replace(envelope, message_type=payload.message_type, payload=payload.model_dump_json())
