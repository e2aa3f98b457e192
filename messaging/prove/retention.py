"""Remove what is done with: published, confirmed by every subscriber, and older than the settings say.

What goes first matters. A message leaves the outbox only below every subscriber's audit mark, so nothing
goes that a consumer may still need put back. An id leaves the inbox only after its message has left the
outbox, and after every topic has forgotten its record: what can still be delivered is still known.
The ledger and the positions of the streams are never pruned.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection

from messaging.registry import subscriptions

BATCH = 5_000  # rows a transaction, so that no lock is held for long


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows went, or would go."""

    messages: int
    inbox: int


def surely_kept_days() -> int:
    """What was taken, or appended to the log, within so many days still has its message: one less than `prune` keeps.

    A day of margin: the one's day may have begun a moment before the other's.
    """
    return int(settings.OUTBOX_RETENTION_DAYS) - 1


def prunable() -> Pruned:
    """What `prune` would remove now."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) {_MESSAGES}", _values())
        messages = cursor.fetchone()[0]
        cursor.execute(f"SELECT count(*) {_INBOX}", _values())
        return Pruned(messages, cursor.fetchone()[0])


def prune(*, progress: Callable[[int], None] = lambda _: None) -> Pruned:
    """Remove what `prunable` counts, in short transactions: it may be killed at any moment and called again.

    `progress` is told how many rows went with each. Needs the marks that `audit --new` sets: without
    them nothing is confirmed, and nothing is removed.
    """
    return Pruned(
        messages=_in_batches(_PRUNE_MESSAGES, progress),
        inbox=_in_batches(_PRUNE_INBOX, progress),
    )


def _in_batches(sql: str, progress: Callable[[int], None]) -> int:
    total = 0
    while True:
        removed = _remove_batch(sql)
        total += removed
        progress(removed)
        if removed < BATCH:
            return total


def _remove_batch(sql: str) -> int:
    """One transaction. A step of its own, so that a crash before and after it can be tested."""
    with connection.cursor() as cursor:
        cursor.execute(sql, _values())
        return int(cursor.fetchone()[0])


def _values() -> dict[str, Any]:
    pairs = [(topic, declared.consumer) for declared in subscriptions() for topic in declared.topics]
    return {
        "topics": [topic for topic, _ in pairs],
        "consumers": [consumer for _, consumer in pairs],
        "outbox_days": settings.OUTBOX_RETENTION_DAYS,
        "inbox_days": settings.INBOX_RETENTION_DAYS,
        "batch": BATCH,
    }


# A topic's mark is the lowest of its subscribers'; one that was never audited has none and stops it.
# A topic that nobody reads is not pruned: nobody has confirmed it.
_MESSAGES = """
    FROM outbox_message m JOIN outbox_receipt r ON r.outbox_id = m.id
    JOIN (
        SELECT topic, min(coalesce(mark.confirmed_to, 0)) AS confirmed_to
        FROM unnest(%(topics)s::text[], %(consumers)s::text[]) AS subscribed (topic, consumer)
        LEFT JOIN audit_mark mark USING (consumer) GROUP BY topic
    ) AS confirmed ON confirmed.topic = m.topic AND m.id <= confirmed.confirmed_to
    WHERE r.acknowledged_at < now() - %(outbox_days)s * interval '1 day'
      -- Taken long ago, too: an inbox row without a message that is younger than that was written by nobody.
      AND NOT EXISTS (SELECT FROM processed_message p WHERE p.message_id = m.message_id
                      AND p.processed_at >= now() - %(outbox_days)s * interval '1 day')
"""

# One statement, one transaction: a message and its receipt go together.
_PRUNE_MESSAGES = f"""
    WITH old AS MATERIALIZED (SELECT m.id {_MESSAGES} ORDER BY m.id LIMIT %(batch)s),
    repairs AS (DELETE FROM repaired_message WHERE outbox_id IN (SELECT id FROM old)),
    receipts AS (DELETE FROM outbox_receipt WHERE outbox_id IN (SELECT id FROM old)),
    messages AS (DELETE FROM outbox_message WHERE id IN (SELECT id FROM old) RETURNING id)
    SELECT count(*) FROM messages
"""

_INBOX = """
    FROM processed_message p
    WHERE p.processed_at < now() - %(inbox_days)s * interval '1 day'
      AND NOT EXISTS (SELECT FROM outbox_message m WHERE m.message_id = p.message_id)
      AND NOT EXISTS (SELECT FROM parked_message k WHERE k.message_id = p.message_id)
      AND NOT EXISTS (SELECT FROM dead_letter d WHERE d.message_id = p.message_id AND d.resolved_at IS NULL)
"""

_PRUNE_INBOX = f"""
    WITH old AS MATERIALIZED (SELECT p.id {_INBOX} LIMIT %(batch)s),
    ids AS (DELETE FROM processed_message WHERE id IN (SELECT id FROM old) RETURNING id)
    SELECT count(*) FROM ids
"""
