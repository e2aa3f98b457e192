"""What an order's messages do to the stock. Called with each batch inside the consumer's transaction."""

from collections.abc import Sequence
from typing import Annotated, Self
from uuid import UUID

from pydantic import BaseModel, Field

from inventory.messages import StockRejected, StockReleased, StockReserved
from inventory.services import Wanted, release, reserve
from messaging.envelope import Envelope, Payload
from messaging.errors import Poison
from messaging.produce.outbox import Draft, append_all


class _Line(BaseModel):
    sku: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00]+$")]
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]


class _OrderMessage(Payload):
    """Inventory reads only what it needs of an order's messages, so orders may add to them."""

    order_id: UUID

    @classmethod
    def read(cls, envelope: Envelope) -> Self:
        message = super().read(envelope)
        if str(message.order_id) != envelope.partition_key:
            raise Poison("invalid_payload", "order_id is not the partition key")
        return message


class _Placed(_OrderMessage):
    lines: Annotated[list[_Line], Field(min_length=1, max_length=100)]

    def wanted(self) -> Wanted:
        quantities = {line.sku: line.quantity for line in self.lines}
        if len(quantities) < len(self.lines):
            raise Poison("invalid_payload", "lines: the same SKU appears twice")
        return Wanted(self.order_id, quantities)


class _Cancelled(_OrderMessage):
    pass


def handle(envelopes: Sequence[Envelope]) -> None:
    """Deduct or put back, and write the replies. Raises Poison for what it does not understand."""
    placed = [e for e in envelopes if e.message_type == "orders.order_placed.v1"]
    cancelled = [e for e in envelopes if e.message_type == "orders.order_cancelled.v1"]
    for envelope in envelopes:
        if envelope.message_type not in ("orders.order_placed.v1", "orders.order_cancelled.v1"):
            raise Poison("unknown_type", f"inventory does not know {envelope.message_type}")
    # An order is placed before it is cancelled, so all placed ones first keeps each order's order.
    if placed:
        _reserve(placed)
    if cancelled:
        _release(cancelled)


def _reserve(envelopes: Sequence[Envelope]) -> None:
    orders = [(_Placed.read(envelope).wanted(), envelope) for envelope in envelopes]
    rejected = reserve([order for order, _ in orders])
    append_all(
        [
            Draft(
                StockRejected(order_id=order.order_id, reason=rejected[order.order_id][:255])
                if order.order_id in rejected
                else StockReserved(order_id=order.order_id),
                partition_key=str(order.order_id),
                sequence=1,
                caused_by=envelope,
            )
            for order, envelope in orders
        ]
    )


def _release(envelopes: Sequence[Envelope]) -> None:
    orders = [(_Cancelled.read(envelope).order_id, envelope) for envelope in envelopes]
    released = release([order_id for order_id, _ in orders])
    # An order that was rejected had reserved nothing: it stays rejected, and nobody is told twice.
    append_all(
        [
            Draft(StockReleased(order_id=order_id), partition_key=str(order_id), sequence=2, caused_by=envelope)
            for order_id, envelope in orders
            if order_id in released
        ]
    )
