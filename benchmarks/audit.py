"""The audit of what is new, over a short and a long history: its cost must not grow with what is done with."""

import statistics
import time

from django.db import connection

from benchmarks.result import Row
from devservices import Stack
from messaging.prove.audit import audit

HISTORIES = (100_000, 1_000_000)  # settled messages
NEW = 1_000
RUNS = 5


def run(stack: Stack) -> list[Row]:
    taken = {history: _measure(history) for history in HISTORIES}
    _empty()
    (short, (new_short, _)), (long, (new_long, full_long)) = taken.items()
    return [
        Row(
            f"audit of {NEW:,} new messages after {long:,} settled ones",
            f"{new_long * 1000:.0f} ms",
            f"after {short:,}: {new_short * 1000:.0f} ms",
            f"{new_long / new_short:.2f}",
            "≈ 1",
        ),
        Row(
            f"audit of {NEW:,} new messages after {long:,} settled ones",
            f"{new_long * 1000:.0f} ms",
            f"audit of everything: {full_long * 1000:.0f} ms",
            f"{full_long / new_long:.0f}",
        ),
    ]


def _measure(history: int) -> tuple[float, float]:
    """Seconds of an audit of what is new (the median of some), and of one of everything."""
    _empty()
    _settle(history)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    audit(new_only=True)
    audit(new_only=True)  # every transaction of the first look has ended: the mark stands at the end
    seconds = []
    for _ in range(RUNS):
        _settle(NEW)
        started = time.perf_counter()
        report = audit(new_only=True)
        seconds.append(time.perf_counter() - started)
        assert report.acknowledged >= NEW, report.as_json()
        assert not report.losses, report.losses[:3]
        audit(new_only=True)
    started = time.perf_counter()
    report = audit()
    assert report.acknowledged == history + RUNS * NEW, report.as_json()
    return statistics.median(seconds), time.perf_counter() - started


def _settle(count: int) -> None:
    """Messages that were published, acknowledged and taken."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH written AS (
                INSERT INTO outbox_message
                    (message_id, message_type, source, topic, partition_key, sequence, payload, traceparent)
                SELECT gen_random_uuid(), 'bench.filler.v1', 'bench', 'orders.events', gen_random_uuid()::text, 1,
                       '{"filler": "x"}', NULL
                FROM generate_series(1, %(count)s) RETURNING *
            ), receipts AS (
                INSERT INTO outbox_receipt (outbox_id, partition, "offset") SELECT id, 0, id FROM written
            )
            INSERT INTO processed_message
                (consumer, message_id, message_type, source, partition_key, sequence, topic, partition, "offset",
                 payload_sha256)
            SELECT 'inventory', message_id, message_type, source, partition_key, 1, topic, 0, id, '' FROM written
            """,
            {"count": count},
        )


def _empty() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE outbox_pending, outbox_receipt, outbox_message, processed_message, audit_mark, repaired_message")  # fmt: skip
