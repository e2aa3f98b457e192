"""Write messages in the caller's transaction: they exist if and only if the business rows do."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection
from uuid_utils.compat import uuid7

from messaging import trace
from messaging.envelope import MAX_PAYLOAD_BYTES, MAX_SEQUENCE, Envelope, Payload
from messaging.errors import InvalidMessage, MessageTooLarge, OutsideTransaction
from messaging.produce.shards import shard_of
from messaging.produce.weight import weight_of


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
        cursor.execute(_INSERT, {"drafts": json.dumps([_row(*each) for each in zip(ids, drafts, texts, strict=True)])})
    return ids


# One round trip for the messages and their places in the queue. One JSON parameter, and not an array for each column:
# psycopg writes those element by element in Python, which takes three to five times as long. Arrays stay where rows are
# joined with a table that grows: of them the planner knows how many there are, of JSON's rows it assumes 100.
_INSERT = """
    WITH draft AS MATERIALIZED (
        SELECT * FROM ROWS FROM (
            json_to_recordset(%(drafts)s::json) AS (message_id uuid, message_type text, source text, topic text,
                                partition_key text, sequence int, payload text, traceparent text, shard int,
                                weight int)
        ) WITH ORDINALITY
    ), written AS (
        INSERT INTO outbox_message
            (message_id, message_type, source, topic, partition_key, sequence, payload, traceparent)
        SELECT message_id, message_type, source, topic, partition_key, sequence, payload, traceparent
        FROM draft
        -- The transaction gets its own id before it draws one for the row: the audit's watermark rests on that.
        WHERE pg_current_xact_id() IS NOT NULL
        ORDER BY ordinality
        RETURNING id, message_id
    )
    INSERT INTO outbox_pending (outbox_id, shard, weight)
    SELECT written.id, draft.shard, draft.weight FROM written JOIN draft USING (message_id)
"""


def _row(message_id: UUID, draft: Draft, text: str) -> dict[str, str | int | None]:
    return {
        "message_id": str(message_id),
        "message_type": draft.payload.message_type,
        "source": draft.payload.source,
        "topic": draft.payload.topic,
        "partition_key": draft.partition_key,
        "sequence": draft.sequence,
        "payload": text,
        "traceparent": _traceparent(draft),
        "shard": shard_of(draft.partition_key),
        "weight": weight_of(len(text.encode())),
    }


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
