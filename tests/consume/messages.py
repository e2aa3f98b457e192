"""Messages of orders' kind, made by hand: a well-formed one, and changes of it."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from messaging.envelope import Envelope
from orders.messages import Line, OrderCancelled, OrderPlaced

TOPIC = "orders.events"


def placed(*, sku: str = "SKU-A", quantity: int = 1, order_id: uuid.UUID | None = None, **changes: Any) -> Envelope:
    """An order_placed message of sequence 1; `changes` replace fields of the envelope."""
    order_id = order_id or uuid.uuid4()
    payload = OrderPlaced(order_id=order_id, lines=[Line(sku=sku, quantity=quantity)])
    return replace(_envelope(order_id, payload.message_type, payload.model_dump_json(), 1), **changes)


def cancelled(order_id: uuid.UUID, *, sequence: int = 2) -> Envelope:
    payload = OrderCancelled(order_id=order_id)
    return _envelope(order_id, payload.message_type, payload.model_dump_json(), sequence)


def _envelope(order_id: uuid.UUID, message_type: str, payload: str, sequence: int) -> Envelope:
    return Envelope(
        message_id=uuid.uuid4(),
        message_type=message_type,
        source="orders",
        partition_key=str(order_id),
        sequence=sequence,
        payload=payload,
        occurred_at=datetime.now(UTC),
        traceparent=None,
    )
