"""Rows as the flow leaves them, made without Kafka: a page does not ask how they came about."""

from datetime import UTC, datetime
from uuid import UUID

from django.db import transaction
from uuid_utils.compat import uuid7

from messaging.consume.batch import apply
from messaging.envelope import Envelope, Record, encode_headers
from messaging.models import DeadLetter, OutboxMessage
from messaging.produce import queue
from messaging.registry import subscriptions
from orders.messages import Line, OrderPlaced
from tests.factories import DeadLetterFactory, StockItemFactory
from tests.flow_tools import envelope_of


def acknowledge(message: OutboxMessage) -> Record:
    """What the relay does when Kafka has answered. Returns the record in the log."""
    offset = message.pk
    queue.settle([queue.Acknowledged(message.pk, message.pk % 3, offset)])
    return record_of(envelope_of(message.message_id), topic=message.topic, partition=message.pk % 3, offset=offset)


def record_of(envelope: Envelope, *, topic: str, partition: int = 0, offset: int = 0) -> Record:
    """The message as a consumer reads it."""
    headers = tuple(
        (name, value if value is None or isinstance(value, bytes) else value.encode())
        for name, value in encode_headers(envelope)
    )
    key, value = envelope.partition_key.encode(), envelope.payload.encode()
    return Record(topic, partition, offset, None, key, value, headers)


def travel() -> None:
    """Orders to inventory and back, until nothing is pending."""
    while waiting := list(OutboxMessage.objects.filter(pending__parked_at=None, pending__isnull=False).order_by("pk")):
        for message in waiting:
            record = acknowledge(message)
            for subscription in subscriptions():
                if record.topic in subscription.topics:
                    with transaction.atomic():
                        apply(subscription, [record])


def wanting_stock(order_id: UUID, *, quantity: int, sku: str = "SKU-MENDED") -> DeadLetter:
    """A dead letter that inventory can handle now: an order for stock that is there."""
    item = StockItemFactory(sku=sku, initial=10)
    payload = OrderPlaced(order_id=order_id, lines=[Line(sku=item.sku, quantity=quantity)])
    envelope = Envelope(
        message_id=uuid7(),
        message_type=payload.message_type,
        source="orders",
        partition_key=str(order_id),
        sequence=1,
        payload=payload.model_dump_json(),
        occurred_at=datetime.now(UTC),
        traceparent=None,
    )
    record = record_of(envelope, topic="orders.events")
    letter: DeadLetter = DeadLetterFactory(
        key=record.key,
        value=record.value,
        headers=[[name, value.hex() if value is not None else None] for name, value in record.headers],
        reason=DeadLetter.Reason.HANDLER_FAILED,
        detail="Traceback (most recent call last):\n  …\nValueError: no such SKU",
        message_id=envelope.message_id,
        partition_key=envelope.partition_key,
    )
    return letter
