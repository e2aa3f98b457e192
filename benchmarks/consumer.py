"""The consumer from Kafka to the committed offset, against one ORM transaction per message."""

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from confluent_kafka import Producer
from django.db import transaction
from django.db.models import F

from benchmarks.group import skip_to_the_end
from benchmarks.history import empty
from benchmarks.result import Row, at_least, per_second
from benchmarks.turns import take_turns
from devservices import Stack
from inventory.messages import StockReserved
from inventory.models import StockItem, StockMovement
from messaging.consume import consumer
from messaging.consume.reader import Reader
from messaging.envelope import Envelope, Record, decode, encode_headers, sha256
from messaging.models import ProcessedMessage
from messaging.produce import outbox
from messaging.registry import subscription
from messaging.store.kafka import producer_settings
from orders.messages import Line, OrderPlaced

EVENTS, NAIVE_EVENTS = 15_000, 1_000  # a turn
TOPIC, NAME = "orders.events", "inventory"


def run(stack: Stack) -> list[Row]:
    declared = subscription(NAME)
    rate = take_turns(
        {
            "naive": lambda: _measure(NAIVE_EVENTS, lambda records: [_naive_event(record) for record in records]),
            "ours": lambda: _measure(EVENTS, lambda records: consumer.apply_or_bury(declared, records)),
        }
    )
    naive, ours = rate["naive"], rate["ours"]
    return [
        Row(
            f"consumer, from Kafka to the committed offset, {EVENTS:,} messages",
            per_second(ours),
            f"one ORM transaction per message, {NAIVE_EVENTS:,} messages: {per_second(naive)}",
            f"{ours / naive:.1f}",
            at_least(15, ours / naive),
        )
    ]


def _measure(events: int, handle: Callable[[Sequence[Record]], object]) -> float:
    """Events a second, from the first record read to the last offset committed."""
    skip_to_the_end(NAME, TOPIC)
    _produce(events)
    reader = Reader(subscription(NAME))
    seen, started = 0, 0.0
    while seen < events:
        records = reader.next_batch(1)
        started = started or (time.perf_counter() if records else 0.0)
        if records:
            handle(records)
            reader.handled(records)
            seen += len(records)
    reader.close()  # commits the last offsets
    elapsed = time.perf_counter() - started
    assert StockMovement.objects.count() == events
    empty()
    return events / elapsed


def _naive_event(record: Record) -> None:
    envelope = decode(record)
    order = OrderPlaced.read(envelope)
    with transaction.atomic():
        if ProcessedMessage.objects.filter(message_id=envelope.message_id, consumer=NAME).exists():
            return
        ProcessedMessage.objects.create(
            consumer=NAME,
            message_id=envelope.message_id,
            message_type=envelope.message_type,
            source=envelope.source,
            partition_key=envelope.partition_key,
            sequence=envelope.sequence,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            payload_sha256=sha256(envelope.payload.encode()),
        )
        for line in order.lines:
            item = StockItem.objects.select_for_update().get(sku=line.sku)
            item.on_hand = F("on_hand") - line.quantity
            item.save(update_fields=["on_hand"])
            StockMovement.objects.create(
                order_id=order.order_id, item=item, kind=StockMovement.Kind.RESERVE, quantity=-line.quantity
            )
        outbox.append(StockReserved(order_id=order.order_id), partition_key=str(order.order_id), sequence=1)


def _produce(count: int) -> None:
    producer = Producer(producer_settings())
    template = Envelope(uuid.uuid4(), OrderPlaced.message_type, "orders", "", 1, "", datetime.now(UTC), None)
    for number in range(count):
        order_id = uuid.uuid4()
        order = OrderPlaced(order_id=order_id, lines=[Line(sku=f"SKU-{number % 20 + 1:04}", quantity=1)])
        envelope = replace(
            template, message_id=uuid.uuid4(), partition_key=str(order_id), payload=order.model_dump_json()
        )
        producer.produce(
            TOPIC,
            key=envelope.partition_key.encode(),
            value=envelope.payload.encode(),
            headers=encode_headers(envelope),
        )
        producer.poll(0)
    producer.flush()
    producer.close()
