"""The numbers above the list of messages, and the types that it can be filtered by."""

from dataclasses import dataclass
from datetime import timedelta

from django.db import connection


@dataclass(frozen=True, slots=True)
class Figures:
    """`backlog` is what waits for Kafka, parked messages among it. `about_messages` is PostgreSQL's
    estimate, None before its first ANALYZE."""

    backlog: int
    parked: int
    oldest_pending_age: timedelta | None
    dead_letters: int
    about_messages: int | None


def figures() -> Figures:
    """One statement. Only the queue and the open dead letters are counted: they are nearly empty, or it
    is worth the wait."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (SELECT count(*) FROM outbox_pending),
                   (SELECT count(*) FROM outbox_pending WHERE parked_at IS NOT NULL),
                   -- Not a join: with old statistics it is planned from the messages' side.
                   (SELECT now() - created_at FROM outbox_message
                    WHERE id = (SELECT min(outbox_id) FROM outbox_pending WHERE parked_at IS NULL)),
                   (SELECT count(*) FROM dead_letter WHERE resolved_at IS NULL),
                   (SELECT CASE WHEN reltuples >= 0 THEN reltuples::bigint END
                    FROM pg_class WHERE oid = 'outbox_message'::regclass)
            """
        )
        return Figures(*cursor.fetchone())


def message_types() -> list[str]:
    """Each type that a message has, by hopping from one to the next in the index."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE hop AS (
                (SELECT message_type FROM outbox_message ORDER BY message_type LIMIT 1)
                UNION ALL
                SELECT (SELECT m.message_type FROM outbox_message m WHERE m.message_type > hop.message_type
                        ORDER BY m.message_type LIMIT 1)
                FROM hop WHERE hop.message_type IS NOT NULL
            )
            SELECT message_type FROM hop WHERE message_type IS NOT NULL LIMIT 200
            """
        )
        return [message_type for (message_type,) in cursor.fetchall()]
