"""What the relay is measured against: a naive relay, and the bare producer. All write the same number of bytes."""

import json
import time
from uuid import UUID, uuid4

from confluent_kafka import Producer
from django.db import connection, models, transaction
from django.utils import timezone

from messaging.envelope import sha256, wire_headers
from messaging.store.kafka import producer_settings

TOPIC = "orders.events"
PAYLOAD = '{"order_id": "0", "filler": "' + "x" * 270 + '"}'

_HEADERS = wire_headers(
    message_id=str(UUID(int=0)),
    message_type="bench.filler.v1",
    source="bench",
    partition_key=str(UUID(int=0)),
    sequence=1,
    occurred_at="2026-01-01T00:00:00.000000+00:00",
    payload_sha256=sha256(PAYLOAD.encode()),
    traceparent=None,
)


class NaiveMessage(models.Model):
    """What many outboxes look like: one table, a flag, and rows that are updated."""

    topic = models.CharField(max_length=249)
    partition_key = models.CharField(max_length=255)
    payload = models.TextField()
    headers = models.JSONField()
    published_at = models.DateTimeField(null=True, db_index=True)

    class Meta:
        app_label = "messaging"
        db_table = "bench_naive_message"
        managed = False

    def __str__(self) -> str:
        return str(self.pk)


def naive_relay(*, messages: int, batch: int) -> float:
    """Messages a second of a drain by so many rows at a time."""
    with connection.schema_editor() as editor:
        editor.create_model(NaiveMessage)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO bench_naive_message (topic, partition_key, payload, headers)
            SELECT %s, gen_random_uuid()::text, %s, %s::jsonb FROM generate_series(1, %s::int)
            """,
            [TOPIC, PAYLOAD, json.dumps(dict(_HEADERS)), messages],
        )
        cursor.execute("ANALYZE bench_naive_message")
    producer = Producer(producer_settings())
    started = time.perf_counter()
    while _naive_round(producer, batch):
        pass
    elapsed = time.perf_counter() - started
    producer.close()
    assert not NaiveMessage.objects.filter(published_at=None).exists()
    with connection.schema_editor() as editor:
        editor.delete_model(NaiveMessage)
    return messages / elapsed


def _naive_round(producer: Producer, batch: int) -> int:
    """ORM objects, row locks held while it waits for the brokers, an update by id."""
    delivered: list[int] = []
    with transaction.atomic():
        waiting = NaiveMessage.objects.filter(published_at=None).order_by("id")
        rows = list(waiting.select_for_update(skip_locked=True)[:batch])
        for row in rows:
            producer.produce(
                row.topic,
                key=row.partition_key,
                value=row.payload,
                headers=row.headers,
                on_delivery=lambda error, _, pk=row.pk: error or delivered.append(pk),
            )
        producer.flush()
        NaiveMessage.objects.filter(pk__in=delivered).update(published_at=timezone.now())
    return len(rows)


def bare_producer(*, messages: int) -> float:
    """Messages a second without any database."""
    keys = [str(uuid4()) for _ in range(messages)]
    reports: list[object] = []
    producer = Producer(producer_settings())
    started = time.perf_counter()
    for key in keys:
        while True:
            try:
                producer.produce(
                    TOPIC,
                    key=key,
                    value=PAYLOAD,
                    headers=_HEADERS,
                    on_delivery=lambda error, message: reports.append(error),
                )
                break
            except BufferError:
                producer.poll(0.01)
        producer.poll(0)
    producer.flush()
    elapsed = time.perf_counter() - started
    producer.close()
    assert len(reports) == messages
    assert not any(reports)
    return messages / elapsed
