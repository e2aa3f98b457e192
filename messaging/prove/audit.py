"""The audit: is every message that was written where it must be, and nothing anywhere else?

Order matters. The groups' offsets are read first, then one snapshot of the database, then the log:
a consumer commits its database before its offset, so what an offset has passed must be in the
snapshot; a relay writes a receipt after the acknowledgement, so what has one must be in the log.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import connection, transaction
from django.utils.module_loading import import_string

from messaging.prove import losses, watermark
from messaging.prove.kafka_log import LogReader, committed_offsets
from messaging.prove.log_comparison import Comparison, compare
from messaging.prove.report import DomainBooks, Report
from messaging.prove.retention import surely_kept_days
from messaging.registry import Subscription, subscriptions


def audit(*, deep: bool = False, new_only: bool = False) -> Report:
    """Compare everything. `deep` also reads the whole log, and compares ids and sha256 both ways.

    `new_only` begins where the last such audit found everything confirmed, so that its cost does not
    grow with the history: what was taken by its consumer stays taken.

    Raises KafkaException and OperationalError: what cannot be read is not called proven.
    """
    declared = subscriptions()
    offsets = {sub.consumer: committed_offsets(sub) for sub in declared}
    seen = _look(declared, new_only=new_only)
    with LogReader() as log:
        lost = [
            loss
            for sub in declared
            for loss in losses.find(sub, seen.unconfirmed[sub.consumer], offsets[sub.consumer], log)
        ]  # fmt: skip
        in_the_log = compare(log) if deep else None
    if new_only:
        watermark.advance(seen.look, seen.first_open)
    return _report(seen, lost, in_the_log)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one snapshot of the database shows. By consumer: the acknowledged messages that it has not taken, and the
    first that it has not taken, acknowledged or not."""

    after_id: int
    look: watermark.Look
    counts: dict[str, int]
    books: DomainBooks
    unconfirmed: dict[str, list[losses.Unconfirmed]]
    first_open: dict[str, int | None]
    nowhere: list[str]
    strangers: list[str]


def _look(declared: Sequence[Subscription], *, new_only: bool) -> _Seen:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # It may read all history, and must not fall silent when that grows.
            cursor.execute("SET LOCAL statement_timeout = 0")
        marks = watermark.marks() if new_only else {}
        after = {sub.consumer: marks.get(sub.consumer, 0) for sub in declared}
        after_id = min(after.values(), default=0)
        return _Seen(
            after_id=after_id,
            look=watermark.look(),
            counts=_counts(after_id),
            books=_books(_keys(after_id) if after_id else None),
            unconfirmed={sub.consumer: losses.unconfirmed(sub, after_id=after[sub.consumer]) for sub in declared},
            # Only what is to raise the marks needs to know where they must stop.
            first_open={
                sub.consumer: watermark.first_unconfirmed(sub, after_id=after[sub.consumer])
                for sub in (declared if new_only else ())
            },
            nowhere=_nowhere(after_id),
            strangers=[] if new_only else _strangers(),
        )


def _report(seen: _Seen, lost: Sequence[losses.Loss], in_the_log: Comparison | None) -> Report:
    books = seen.books
    return Report(
        after_id=seen.after_id,
        domain=books.counts,
        in_log=in_the_log.in_log if in_the_log else None,
        gone_from_log=in_the_log.gone if in_the_log else None,
        unknown_in_log=in_the_log.unknown if in_the_log else None,
        lost=[
            *books.lost,
            *seen.nowhere,
            *map(str, lost),
            *(_named_once(in_the_log.missing, lost) if in_the_log else []),
        ],
        extra=[*books.extra, *seen.strangers],
        stuck=books.stuck,
        stock_mismatches=books.stock_mismatches,
        losses=list(lost),
        **seen.counts,
    )


def _named_once(missing: dict[str, str], lost: Sequence[losses.Loss]) -> list[str]:
    """Those that are not among the lost already."""
    named = {str(loss.message.message_id) for loss in lost}
    return [text for message_id, text in missing.items() if message_id not in named]


def _books(keys: Sequence[str] | None) -> DomainBooks:
    books: DomainBooks = import_string(settings.MESSAGING_BOOKS)(keys)
    return books


def _keys(after_id: int) -> list[str]:
    """The keys of the messages with a higher id than this: only what they name has changed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT partition_key FROM outbox_message WHERE id > %s", [after_id])
        return [key for (key,) in cursor.fetchall()]


def _counts(after_id: int) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS if after_id else _COUNTS_OF_ALL, {"after": after_id, "kept_days": surely_kept_days()})
        names = [column.name for column in cursor.description]
        return dict(zip(names, (int(value) for value in cursor.fetchone()), strict=True))


_WAITING = """
    (SELECT count(*) FROM repaired_message) AS repaired,
    (SELECT count(*) FROM outbox_pending WHERE parked_at IS NULL) AS pending,
    (SELECT count(*) FROM outbox_pending WHERE parked_at IS NOT NULL)
      + (SELECT count(*) FROM parked_message) AS parked,
    (SELECT count(*) FROM dead_letter WHERE resolved_at IS NULL) AS dead_letters
"""

_COUNTS_OF_ALL = f"""
    SELECT (SELECT count(*) FROM outbox_message) AS written,
           (SELECT count(*) FROM outbox_receipt) AS acknowledged,
           -- An id stays in the inbox longer than its message in the outbox. One without a message counts while it is
           -- too young for that: nobody wrote it.
           (SELECT count(*) FROM processed_message p
            WHERE p.processed_at > now() - %(kept_days)s * interval '1 day'
               OR EXISTS (SELECT FROM outbox_message m WHERE m.message_id = p.message_id))
             - (SELECT count(*) FROM parked_message)
             - (SELECT count(*) FROM dead_letter d JOIN processed_message p
                  ON p.message_id = d.message_id AND p.consumer = d.consumer
                WHERE d.resolved_at IS NULL AND d.reason NOT IN ('unreadable', 'corrupt')) AS applied,
           (SELECT coalesce(sum(redeliveries), 0) FROM processed_message WHERE redeliveries > 0) AS redelivered,
           {_WAITING}
"""

_COUNTS = f"""
    WITH taken AS MATERIALIZED (
        SELECT p.message_id, p.consumer, p.redeliveries
        FROM outbox_message m JOIN processed_message p ON p.message_id = m.message_id
        WHERE m.id > %(after)s
    )
    SELECT (SELECT count(*) FROM outbox_message WHERE id > %(after)s) AS written,
           (SELECT count(*) FROM outbox_receipt WHERE outbox_id > %(after)s) AS acknowledged,
           (SELECT count(*) FROM taken t
            WHERE NOT EXISTS (SELECT FROM parked_message k
                              WHERE k.message_id = t.message_id AND k.consumer = t.consumer)
              AND NOT EXISTS (SELECT FROM dead_letter d
                              WHERE d.message_id = t.message_id AND d.consumer = t.consumer
                                AND d.resolved_at IS NULL
                                AND d.reason NOT IN ('unreadable', 'corrupt'))) AS applied,
           (SELECT coalesce(sum(redeliveries), 0) FROM taken) AS redelivered,
           {_WAITING}
"""


def _nowhere(after_id: int) -> list[str]:
    """Messages in neither the queue nor the receipts. No statement of ours leaves one there: somebody deleted rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT m.message_id FROM outbox_message m
            WHERE m.id > %s AND NOT EXISTS (SELECT FROM outbox_pending p WHERE p.outbox_id = m.id)
              AND NOT EXISTS (SELECT FROM outbox_receipt r WHERE r.outbox_id = m.id)
            """,
            [after_id],
        )
        return [
            f"{message_id} (it waits for no relay, and was never acknowledged)" for (message_id,) in cursor.fetchall()
        ]


def _strangers() -> list[str]:
    """Messages that a consumer took and nobody wrote. Only of what is too young to have been pruned."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT p.message_id, p.consumer FROM processed_message p
            WHERE NOT EXISTS (SELECT FROM outbox_message m WHERE m.message_id = p.message_id)
              AND NOT EXISTS (SELECT FROM dead_letter d WHERE d.message_id = p.message_id AND d.resolved_at IS NULL)
              AND NOT EXISTS (SELECT FROM parked_message k WHERE k.message_id = p.message_id)
              AND p.processed_at > now() - %s * interval '1 day'
            """,
            [surely_kept_days()],
        )
        return [f"{message_id} (taken by {consumer}, written by nobody)" for message_id, consumer in cursor.fetchall()]
