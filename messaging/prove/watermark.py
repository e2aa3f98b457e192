"""How far the audit has come: below its mark a consumer has confirmed every message, and none will appear.

Ids are drawn before their transaction commits, so a younger message may be visible before an older one.
The mark is raised to the newest id of an earlier look only once every transaction that was open at
that look has ended: then whatever has a smaller id is visible, and was looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import connection

from messaging.prove.losses import NOT_TAKEN, not_taken_by
from messaging.registry import Subscription


@dataclass(frozen=True, slots=True)
class Look:
    """What a transaction sees: its newest outbox id, and which transactions had ended (as 64-bit ids)."""

    newest_id: int
    oldest_open: int
    next_to_come: int


def marks() -> dict[str, int]:
    """Each consumer's mark: it has confirmed every message up to this outbox id."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT consumer, confirmed_to FROM audit_mark")
        return dict(cursor.fetchall())


def look() -> Look:
    """What the current transaction sees. Its isolation must be REPEATABLE READ."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT coalesce((SELECT max(id) FROM outbox_message), 0),
                   pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
                   pg_snapshot_xmax(pg_current_snapshot())::text::bigint
            """
        )
        return Look(*cursor.fetchone())


def first_unconfirmed(subscription: Subscription, *, after_id: int) -> int | None:
    """The first message with a higher id than this that the consumer has not taken, acknowledged or not."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT min(m.id) {NOT_TAKEN}", not_taken_by(subscription, after_id=after_id))
        found: int | None = cursor.fetchone()[0]
        return found


def advance(seen: Look, first_open: Mapping[str, int | None]) -> None:
    """Raise each consumer's mark as far as it is sure, and remember this look for the next time.

    `first_open` has each consumer's first unconfirmed message as `seen` saw it.
    """
    with connection.cursor() as cursor:
        for consumer, first in first_open.items():
            cursor.execute(
                """
                INSERT INTO audit_mark AS mark (consumer, confirmed_to, candidate, candidate_open_until)
                VALUES (%(consumer)s, 0, %(newest)s, %(next)s)
                ON CONFLICT (consumer) DO UPDATE SET
                    confirmed_to = CASE WHEN mark.candidate_open_until <= %(oldest_open)s
                                   THEN greatest(mark.confirmed_to, least(mark.candidate, %(first)s - 1))
                                   ELSE mark.confirmed_to END,
                    candidate = excluded.candidate,
                    candidate_open_until = excluded.candidate_open_until
                -- Until it is sure the old candidate stays: a newer one would ripen later still. One from the
                -- future was made before these tables were loaded into another server, and never ripens.
                WHERE mark.candidate_open_until <= %(oldest_open)s OR mark.candidate_open_until > %(next)s
                """,
                {
                    "consumer": consumer,
                    "newest": seen.newest_id,
                    "next": seen.next_to_come,
                    "first": seen.newest_id + 1 if first is None else first,
                    "oldest_open": seen.oldest_open,
                },
            )
