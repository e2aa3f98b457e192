"""Inventory's replies, made by hand."""

import uuid
from datetime import UTC, datetime

from inventory.messages import StockRejected, StockReleased, StockReserved
from messaging.envelope import Envelope, Payload


def reserved(order_id: uuid.UUID, *, sequence: int = 1) -> Envelope:
    return _envelope(order_id, StockReserved(order_id=order_id), sequence)


def rejected(order_id: uuid.UUID, reason: str = "none", *, sequence: int = 1) -> Envelope:
    return _envelope(order_id, StockRejected(order_id=order_id, reason=reason), sequence)


def released(order_id: uuid.UUID, *, sequence: int = 2) -> Envelope:
    return _envelope(order_id, StockReleased(order_id=order_id), sequence)


def _envelope(order_id: uuid.UUID, payload: Payload, sequence: int) -> Envelope:
    return Envelope(
        message_id=uuid.uuid4(),
        message_type=payload.message_type,
        source=payload.source,
        partition_key=str(order_id),
        sequence=sequence,
        payload=payload.model_dump_json(),
        occurred_at=datetime.now(UTC),
        traceparent=None,
    )
