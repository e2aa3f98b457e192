"""The inbox: a message id that this consumer has taken is never taken again."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from messaging.consume.delivery import Delivery
from messaging.envelope import sha256
from messaging.models import ProcessedMessage

Identity = tuple[str, str, str, int, str]  # type, source, key, sequence, sha256 of the payload


@dataclass(frozen=True, slots=True)
class Taken:
    """`new` are to be handled, in their order. `reused` carry the id of another message: neither new
    nor a redelivery, so somebody made two messages with one id. All the rest are redeliveries."""

    new: list[Delivery]
    reused: list[Delivery]


def take(consumer: str, deliveries: Sequence[Delivery]) -> Taken:
    """Remember the messages. Needs the transaction of the effect.

    The unique constraint decides, so it holds between processes: where another transaction has the
    same message in hand, this waits for its end.
    """
    first = {delivery.envelope.message_id: delivery for delivery in reversed(deliveries)}
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, {"consumer": consumer, "taken": json.dumps([_row(each) for each in first.values()])})
        new_ids = {message_id for (message_id,) in cursor.fetchall()}
    new: list[Delivery] = []
    seen: list[Delivery] = []
    for delivery in deliveries:
        message_id = delivery.envelope.message_id
        is_new = message_id in new_ids and first[message_id] is delivery
        (new if is_new else seen).append(delivery)
    return Taken(new, _absorb(consumer, seen) if seen else [])


_TAKE = """
    INSERT INTO processed_message (consumer, message_id, message_type, source, partition_key, sequence,
                                   topic, partition, "offset", payload_sha256)
    SELECT %(consumer)s, taken.* FROM json_to_recordset(%(taken)s::json) AS taken (
        message_id uuid, message_type text, source text, partition_key text, sequence int,
        topic text, partition int, "offset" bigint, payload_sha256 text)
    ON CONFLICT (message_id, consumer) DO NOTHING
    RETURNING message_id
"""


def is_taken(consumer: str, delivery: Delivery) -> bool:
    """Whether the inbox holds a message of this id."""
    return _taken_as(consumer, delivery) is not None


def is_reused(consumer: str, delivery: Delivery) -> bool:
    """Whether the inbox holds another message under this id."""
    return _taken_as(consumer, delivery) not in (None, _identity(delivery))


def _taken_as(consumer: str, delivery: Delivery) -> Identity | None:
    taken = ProcessedMessage.objects.filter(consumer=consumer, message_id=delivery.envelope.message_id)
    return taken.values_list("message_type", "source", "partition_key", "sequence", "payload_sha256").first()


def _absorb(consumer: str, seen: Sequence[Delivery]) -> list[Delivery]:
    """Count each as seen again, and return those that only reuse the id of another message."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE processed_message p SET redeliveries = redeliveries + again.times
            FROM (SELECT id, count(*) AS times FROM unnest(%s::uuid[]) AS id GROUP BY id) AS again
            WHERE p.message_id = again.id AND p.consumer = %s
            RETURNING p.message_id, p.message_type, p.source, p.partition_key, p.sequence, p.payload_sha256
            """,
            [[delivery.envelope.message_id for delivery in seen], consumer],
        )
        taken_as = {message_id: tuple(identity) for message_id, *identity in cursor.fetchall()}
    return [delivery for delivery in seen if taken_as[delivery.envelope.message_id] != _identity(delivery)]


def _identity(delivery: Delivery) -> Identity:
    """What a redelivery repeats. The payload alone would not do: two replies to one order have the same."""
    envelope = delivery.envelope
    return envelope.message_type, envelope.source, envelope.partition_key, envelope.sequence, _digest(delivery)


def _row(delivery: Delivery) -> dict[str, str | int]:
    envelope, record = delivery.envelope, delivery.record
    return {
        "message_id": str(envelope.message_id),
        "message_type": envelope.message_type,
        "source": envelope.source,
        "partition_key": envelope.partition_key,
        "sequence": envelope.sequence,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "payload_sha256": _digest(delivery),
    }


def _digest(delivery: Delivery) -> str:
    return sha256(delivery.envelope.payload.encode())
