"""Write messages in the caller's transaction: they exist if and only if the business rows do."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection
from uuid_utils.compat import uuid7

from messaging import trace
from messaging.envelope import MAX_PAYLOAD_BYTES, MAX_SEQUENCE, Envelope, Payload
from messaging.errors import InvalidMessage, MessageTooLarge, OutsideTransaction
from messaging.produce.shards import shard_of


@dataclass(frozen=True, slots=True)
class Draft:
    """A message to write: `sequence` is its number within the source and key, from 1, assigned under
    the lock of the business row that the key names. `caused_by` is the message that it replies to,
    whose trace it continues; without one it continues the trace of the work in hand."""

    payload: Payload
    partition_key: str
    sequence: int
    caused_by: Envelope | None = None


def append(payload: Payload, *, partition_key: str, sequence: int) -> UUID:
    """Write one message and put it into the relay's queue. Returns its message id.

    Needs an open transaction (OutsideTransaction). Write the business row first: its unique and check constraints
    then fail before a message is written. Raises InvalidMessage, MessageTooLarge, and IntegrityError when the sequence
    is taken.
    """
    return append_all([Draft(payload, partition_key, sequence)])[0]


def append_all(drafts: Sequence[Draft]) -> list[UUID]:
    """`append` for many messages in one statement, in their order."""
    if not connection.in_atomic_block:
        raise OutsideTransaction("outbox.append needs the transaction of the business row")
    if not drafts:
        return []
    texts = [_checked_text(draft) for draft in drafts]
    ids = [uuid7() for _ in drafts]
    with connection.cursor() as cursor:
        cursor.execute(
            _INSERT,
            {
                "ids": ids,
                "types": [draft.payload.message_type for draft in drafts],
                "sources": [draft.payload.source for draft in drafts],
                "topics": [draft.payload.topic for draft in drafts],
                "keys": [draft.partition_key for draft in drafts],
                "sequences": [draft.sequence for draft in drafts],
                "payloads": texts,
                "traceparents": [_traceparent(draft) for draft in drafts],
                "shards": [shard_of(draft.partition_key) for draft in drafts],
            },
        )
    return ids


# One round trip for the message and its place in the queue.
_INSERT = """
    WITH written AS (
        INSERT INTO outbox_message
            (message_id, message_type, source, topic, partition_key, sequence, payload, traceparent)
        SELECT id, type, source, topic, key, sequence, payload, traceparent
        FROM unnest(%(ids)s::uuid[], %(types)s::text[], %(sources)s::text[], %(topics)s::text[],
                    %(keys)s::text[], %(sequences)s::int[], %(payloads)s::text[], %(traceparents)s::text[])
             WITH ORDINALITY AS draft (id, type, source, topic, key, sequence, payload, traceparent, number)
        -- The transaction gets its own id before it draws one for the row: the audit's watermark rests on that.
        WHERE pg_current_xact_id() IS NOT NULL
        ORDER BY number
        RETURNING id, message_id
    )
    INSERT INTO outbox_pending (outbox_id, shard)
    SELECT written.id, assigned.shard
    FROM written JOIN unnest(%(ids)s::uuid[], %(shards)s::int[]) AS assigned (message_id, shard) USING (message_id)
"""


def _traceparent(draft: Draft) -> str | None:
    return trace.child_of(draft.caused_by.traceparent) if draft.caused_by else trace.current()


def _checked_text(draft: Draft) -> str:
    """The payload's JSON; refused here, where the caller can still be told, not by the relay."""
    if not draft.partition_key or len(draft.partition_key) > 255:
        raise InvalidMessage("partition_key must have 1 to 255 characters")
    if not 1 <= draft.sequence <= MAX_SEQUENCE:
        raise InvalidMessage(f"sequence must be 1 to {MAX_SEQUENCE}, not {draft.sequence}")
    try:
        draft.partition_key.encode()
        text = draft.payload.model_dump_json()
        size = len(text.encode())
    except ValueError as error:
        raise InvalidMessage(f"the key or the payload is not valid UTF-8: {error}") from error
    if "\x00" in text or "\x00" in draft.partition_key:
        raise InvalidMessage("the message holds a NUL character")
    if size > MAX_PAYLOAD_BYTES:
        raise MessageTooLarge(f"the payload has {size} bytes; {MAX_PAYLOAD_BYTES} are allowed")
    return text
