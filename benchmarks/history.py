"""A history of settled messages, as long as a benchmark wants it."""

from django.db import connection

_WRITTEN = """
    WITH written AS (
        INSERT INTO outbox_message
            (message_id, message_type, source, topic, partition_key, sequence, payload, traceparent)
        SELECT gen_random_uuid(), %(type)s, 'bench', 'orders.events', gen_random_uuid()::text, 1,
               '{"filler": "x"}', NULL
        FROM generate_series(1, %(count)s) RETURNING *
    )
"""


def settle(count: int) -> None:
    """Messages that were published, acknowledged and taken."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            {_WRITTEN}, receipts AS (
                INSERT INTO outbox_receipt (outbox_id, partition, "offset") SELECT id, 0, id FROM written
            )
            INSERT INTO processed_message
                (consumer, message_id, message_type, source, partition_key, sequence, topic, partition, "offset",
                 payload_sha256)
            SELECT 'inventory', message_id, message_type, source, partition_key, 1, topic, 0, id, '' FROM written
            """,
            {"type": "bench.filler.v1", "count": count},
        )


def park(count: int) -> None:
    """Messages that wait, half of them put aside: what an operator looks for among the settled ones."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            {_WRITTEN}
            INSERT INTO outbox_pending (outbox_id, shard, parked_at)
            SELECT id, 0, CASE WHEN id %% 2 = 0 THEN now() END FROM written
            """,
            {"type": "bench.waiting.v1", "count": count},
        )


def empty() -> None:
    """Forget every message."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE outbox_pending, outbox_receipt, outbox_message, processed_message, audit_mark, repaired_message")  # fmt: skip
