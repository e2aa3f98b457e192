"""The relay's drain of a backlog, against a naive relay, and against the bare producer."""

import json
import threading
import time
from uuid import UUID, uuid4

from confluent_kafka import Producer
from django.db import connection, models, transaction
from django.utils import timezone

from benchmarks.result import Row, per_second
from devservices import Stack
from messaging.envelope import sha256, wire_headers
from messaging.produce import queue
from messaging.produce.relay import Relay
from messaging.produce.shards import SHARDS, shard_of
from messaging.store.kafka import producer_settings

MESSAGES = 100_000
NAIVE_BATCHES = (100, 1000)
PAYLOAD = '{"order_id": "0", "filler": "' + "x" * 270 + '"}'


# As long as the relay's own, so that all three write the same number of bytes.
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


def run(stack: Stack) -> list[Row]:
    _warm_up()
    raw = _bare_producer()
    naive = {batch: _naive(batch) for batch in NAIVE_BATCHES}
    ours = _ours()
    what = f"relay, drain of {MESSAGES:,}"
    return [
        *(
            Row(
                what,
                per_second(ours),
                f"naive relay, {batch:,} rows at a time: {per_second(rate)}",
                f"{ours / rate:.1f}",
                "≥ 3",
            )
            for batch, rate in naive.items()
        ),
        Row(what, per_second(ours), f"bare producer: {per_second(raw)}", f"{ours / raw:.2f}"),
    ]


def _warm_up() -> None:
    _fill(20_000)
    _drain()
    _empty()


def _ours() -> float:
    _fill(MESSAGES)
    started = time.perf_counter()
    _drain()
    elapsed = time.perf_counter() - started
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM outbox_receipt")
        assert cursor.fetchone()[0] == MESSAGES
    _empty()
    return MESSAGES / elapsed


def _drain() -> None:
    relay, stop = Relay(), threading.Event()
    thread = threading.Thread(target=lambda: relay.shift(seconds=3600, stop=stop))
    thread.start()
    # Asked often, so it must cost nothing: to count the queue would take a core's fifth from the relay.
    while _anything_pending():
        time.sleep(0.02)
    stop.set()
    thread.join()


def _anything_pending() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM outbox_pending)")
        pending: bool = cursor.fetchone()[0]
        return pending


def _fill(count: int) -> None:
    keys = [str(uuid4()) for _ in range(count)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH written AS (
                INSERT INTO outbox_message
                    (message_id, message_type, source, topic, partition_key, sequence, payload, traceparent)
                SELECT gen_random_uuid(), 'bench.filler.v1', 'bench', 'orders.events', key, 1, %(payload)s, NULL
                FROM unnest(%(keys)s) AS key RETURNING id, partition_key
            )
            INSERT INTO outbox_pending (outbox_id, shard)
            SELECT id, shard FROM written JOIN unnest(%(keys)s, %(shards)s) AS place (key, shard) ON key = partition_key
            """,
            {"payload": PAYLOAD, "keys": keys, "shards": [shard_of(key) for key in keys]},
        )
        cursor.execute("ANALYZE outbox_message, outbox_pending")


def _naive(batch: int) -> float:
    with connection.schema_editor() as editor:
        editor.create_model(NaiveMessage)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO bench_naive_message (topic, partition_key, payload, headers)
            SELECT 'orders.events', gen_random_uuid()::text, %s,
                   %s
            FROM generate_series(1, %s)
            """,
            [PAYLOAD, json.dumps(dict(_HEADERS)), MESSAGES],
        )
        cursor.execute("ANALYZE bench_naive_message")
    producer = Producer(producer_settings())
    started = time.perf_counter()
    while _naive_round(producer, batch):
        pass
    elapsed = time.perf_counter() - started
    producer.close()
    with connection.schema_editor() as editor:
        editor.delete_model(NaiveMessage)
    return MESSAGES / elapsed


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


def _bare_producer() -> float:
    _fill(MESSAGES)
    rows = queue.fetch(shards=list(range(SHARDS)), except_ids=[], after=0, limit=MESSAGES)
    _empty()
    reports: list[object] = []
    producer = Producer(producer_settings())
    started = time.perf_counter()
    for row in rows:
        while True:
            try:
                producer.produce(
                    row.topic,
                    key=row.partition_key,
                    value=row.payload,
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
    assert len(reports) == MESSAGES
    assert not any(reports)
    return MESSAGES / elapsed


def _empty() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE outbox_pending, outbox_receipt, outbox_message, repaired_message")
