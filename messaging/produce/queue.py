"""The relay's queue in the database: fetch what is pending, settle what Kafka acknowledged."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from django.db import connection

from messaging.envelope import Stream
from messaging.errors import ReplayRefused
from messaging.produce.shards import shard_of
from messaging.produce.weight import weight_of


class PendingMessage(NamedTuple):
    """A message to publish, as its row gives it: nothing is parsed on the way to the wire.

    `outbox_id` is its row in the outbox, `occurred_at` is RFC 3339 text.
    """

    outbox_id: int
    topic: str
    message_id: str
    message_type: str
    source: str
    partition_key: str
    sequence: int
    payload: str
    occurred_at: str
    traceparent: str | None
    payload_bytes: int
    waits: bool  # behind a parked message of its stream

    @property
    def weight(self) -> int:
        """The room that it takes in the relay."""
        return weight_of(self.payload_bytes)

    @property
    def stream(self) -> Stream:
        """The ordered stream that the message belongs to."""
        return self.source, self.partition_key


class Acknowledged(NamedTuple):
    """All in-sync replicas have the message, at this place of the log."""

    outbox_id: int
    partition: int
    offset: int


class Refused(NamedTuple):
    """Kafka will never take this message, whoever asks: it is too large or invalid. A missing topic or permission
    does not count."""

    outbox_id: int
    error: str


def fetch(*, shards: Sequence[int], except_ids: Collection[int], after: int, limit: int) -> list[PendingMessage]:
    """The oldest pending messages of these shards but for `except_ids`, by id, until they weigh `limit`.

    If they weigh less, these are all. Rows are counted by weight, so that large ones do not fill the memory.
    `after` pages within one round. Every round starts again at 0: ids are not in commit order, so a
    cursor kept from round to round would skip the rows of slow transactions for ever.
    Those that wait behind a parked message of their stream are among them, and say so.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _FETCH,
            {
                "shards": list(shards),
                "except_ids": _array(except_ids),
                "after": after,
                "limit": limit,
            },
        )
        return [PendingMessage._make(row) for row in cursor.fetchall()]


# The ids first, then their messages one by one: a join over both tables is planned as a merge that
# reads the outbox from its first row, whose cost grows with all that was ever published.
_FETCH = """
    WITH parked AS MATERIALIZED (
        SELECT m.partition_key, m.source, m.sequence
        FROM outbox_pending p JOIN outbox_message m ON m.id = p.outbox_id
        WHERE p.parked_at IS NOT NULL
    )
    SELECT m.id, m.topic, m.message_id::text, m.message_type, m.source, m.partition_key, m.sequence, m.payload,
           to_char(m.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'), m.traceparent,
           octet_length(m.payload),
           EXISTS (SELECT FROM parked WHERE parked.partition_key = m.partition_key
                   AND parked.source = m.source AND parked.sequence < m.sequence)
    FROM outbox_message m
    WHERE m.id = ANY (ARRAY(
        SELECT outbox_id
        FROM (
            SELECT outbox_id, weight, sum(weight) OVER (ORDER BY outbox_id ROWS UNBOUNDED PRECEDING) AS up_to_here
            FROM outbox_pending
            WHERE outbox_id > %(after)s AND shard = ANY(%(shards)s) AND parked_at IS NULL
              AND outbox_id <> ALL(%(except_ids)s::bigint[])
            ORDER BY outbox_id LIMIT %(limit)s
        ) oldest
        WHERE up_to_here - weight < %(limit)s
    ))
    ORDER BY m.id
"""


def settle(acknowledged: Sequence[Acknowledged]) -> None:
    """Take the messages out of the queue and write their receipts, in one statement.

    Right whoever calls it, and however often: a message that is no longer pending is left alone.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            # `= ANY` and not `USING unnest`: the latter drops to a fifth of the speed under dead tuples.
            """
            WITH settled AS (
                DELETE FROM outbox_pending WHERE outbox_id = ANY(%(ids)s::bigint[]) RETURNING outbox_id
            )
            INSERT INTO outbox_receipt (outbox_id, partition, "offset")
            SELECT DISTINCT ON (outbox_id) outbox_id, report.partition, report.place
            FROM settled
            JOIN unnest(%(ids)s::bigint[], %(partitions)s::int[], %(offsets)s::bigint[])
                 AS report (outbox_id, partition, place) USING (outbox_id)
            """,
            {
                "ids": _array(report.outbox_id for report in acknowledged),
                "partitions": _array(report.partition for report in acknowledged),
                "offsets": _array(report.offset for report in acknowledged),
            },
        )


def _array(numbers: Iterable[int]) -> str:
    """PostgreSQL's own text of an array. psycopg would write a list of thousands element by element in Python, which
    takes ten times as long."""
    return f"{{{','.join(map(str, numbers))}}}"


def requeue(lost: Sequence[Acknowledged]) -> list[int]:
    """Put messages back into the queue that Kafka acknowledged and lost, to be published again under the same ids.

    Returns those whose receipt still names this place; one that was acknowledged anew meanwhile is left alone.
    The receipt goes as the queue's row comes: a message is always in one of the two.
    """
    places = {report.outbox_id: report for report in lost}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, partition_key, octet_length(payload) FROM outbox_message WHERE id = ANY(%s)", [list(places)]
        )
        known = [(places[id_], shard_of(key), weight_of(size)) for id_, key, size in cursor.fetchall()]
        cursor.execute(
            """
            WITH lost AS (
                SELECT * FROM unnest(%(ids)s::bigint[], %(partitions)s::int[], %(offsets)s::bigint[], %(shards)s::int[],
                                     %(weights)s::int[])
                     AS lost (outbox_id, partition, place, shard, weight)
            ), taken_back AS (
                DELETE FROM outbox_receipt r USING lost
                WHERE r.outbox_id = lost.outbox_id AND r.partition = lost.partition AND r."offset" = lost.place
                RETURNING r.outbox_id, lost.shard, lost.weight
            )
            INSERT INTO outbox_pending (outbox_id, shard, weight) SELECT outbox_id, shard, weight FROM taken_back
            RETURNING outbox_id
            """,
            {
                "ids": [report.outbox_id for report, _, _ in known],
                "partitions": [report.partition for report, _, _ in known],
                "offsets": [report.offset for report, _, _ in known],
                "shards": [shard for _, shard, _ in known],
                "weights": [weight for _, _, weight in known],
            },
        )
        return [outbox_id for (outbox_id,) in cursor.fetchall()]


def park(refused: Sequence[Refused]) -> None:
    """Set the messages aside with Kafka's reason. Their streams wait, all others flow."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            UPDATE outbox_pending
            SET parked_at = now(), attempts = attempts + 1, last_error = %s WHERE outbox_id = %s
            """,
            [(report.error, report.outbox_id) for report in refused],
        )


def unpark(outbox_id: int) -> None:
    """Put a parked message back to be published under the same id. Raises ReplayRefused."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE outbox_pending SET parked_at = NULL WHERE outbox_id = %s AND parked_at IS NOT NULL",
            [outbox_id],
        )
        if cursor.rowcount == 0:
            raise ReplayRefused("the message is not parked: it is pending or was already acknowledged")
