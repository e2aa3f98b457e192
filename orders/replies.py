"""What inventory's replies do to an order. Called with each batch inside the consumer's transaction."""

from collections.abc import Sequence
from typing import Annotated, Self
from uuid import UUID

from django.db.models.functions import Now
from pydantic import Field

from messaging.envelope import Envelope, Payload
from messaging.errors import Poison
from orders.models import Order

Status = Order.Status


class _Reply(Payload):
    """Orders reads only what it needs of a reply, so inventory may add to it."""

    order_id: UUID

    @classmethod
    def read(cls, envelope: Envelope) -> Self:
        reply = super().read(envelope)
        if str(reply.order_id) != envelope.partition_key:
            raise Poison("invalid_payload", "order_id is not the partition key")
        return reply


class _Rejection(_Reply):
    reason: Annotated[str, Field(max_length=255, pattern=r"^[^\x00]*$")]


def handle(envelopes: Sequence[Envelope]) -> None:
    """Move each order along. Raises Poison for a reply that fits no order or no legal change."""
    by_type: dict[str, list[Envelope]] = {}
    for envelope in envelopes:
        by_type.setdefault(envelope.message_type, []).append(envelope)
    # Type by type, not one by one: an order's `reserved` always precedes its `released`, so its order is kept.
    if reserved := by_type.pop("inventory.stock_reserved.v1", []):
        _move(reserved, Status.PENDING, Status.CONFIRMED)
    for envelope in by_type.pop("inventory.stock_rejected.v1", []):
        _move([envelope], Status.PENDING, Status.REJECTED, reason=_Rejection.read(envelope).reason)
    if released := by_type.pop("inventory.stock_released.v1", []):
        _move(released, Status.CONFIRMED, Status.CANCELLED)
    for message_type in by_type:
        raise Poison("unknown_type", f"orders does not know {message_type}")


def _move(envelopes: Sequence[Envelope], before: Status, after: Status, *, reason: str = "") -> None:
    """All orders of these replies from one status to the next; the condition makes it legal."""
    ids = {_Reply.read(envelope).order_id for envelope in envelopes}
    orders = Order.objects.filter(pk__in=ids, status=before)
    if after == Status.CANCELLED:
        orders = orders.filter(cancel_requested_at__isnull=False)
    # A cancellation is no second decision: when the order was decided stays as it is.
    decided = {"decided_at": Now()} if before == Status.PENDING else {}
    moved = orders.update(status=after, rejection_reason=reason, **decided)
    if moved != len(envelopes):
        raise Poison("refused", f"{len(envelopes) - moved} orders are unknown, or cannot go from {before} to {after}")
