"""The lease of the queue's shards: who relays which, by the database's clock alone.

A lease avoids double work. Safety does not rest on it: a relay that outlives its lease can only
publish a duplicate, which the inbox absorbs, and settle what really was acknowledged.
"""

from django.db import connection

# A relay that was killed frees its shards after this long; a living one renews them each second.
LEASE_SECONDS = 5


def hold(owner: str) -> list[int]:
    """Renew the owner's shards, take all that are free, and return what it holds now.

    The first relay takes them all: shards keep a dead partition apart, they do not share the work.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE relay_shard SET owner = %(owner)s, leased_until = clock_timestamp() + %(lease)s * interval '1 second'
            WHERE shard IN (
                SELECT shard FROM relay_shard
                WHERE owner = %(owner)s OR leased_until <= clock_timestamp()
                FOR UPDATE SKIP LOCKED
            )
            RETURNING shard
            """,
            {"owner": owner, "lease": LEASE_SECONDS},
        )
        return sorted(shard for (shard,) in cursor.fetchall())


def release(owner: str) -> None:
    """Let the owner's shards go at once, for the next relay."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE relay_shard SET owner = '', leased_until = clock_timestamp() WHERE owner = %s", [owner])
