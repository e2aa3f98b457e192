"""Find what Kafka lost: acknowledged, not taken by its consumer, and out of that consumer's reach.

The brokers' acknowledgement is not the end of the story. Power lost everywhere, a log cut short, a
topic deleted, retention, or a group moved past what it had not read: all of them lose acknowledged
records. A message that only waits its turn in the log is not lost.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection

from messaging.prove.kafka_log import LogReader, Place
from messaging.registry import Subscription

# A new leader can for a moment know less of the log than there is: ask again before calling it lost.
SECOND_LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """A message that the brokers acknowledged at this place and that a consumer has not taken yet."""

    outbox_id: int
    message_id: UUID
    topic: str
    partition: int
    offset: int

    @property
    def place(self) -> Place:
        return self.topic, self.partition


@dataclass(frozen=True, slots=True)
class Loss:
    """A message that this consumer will never read where the brokers acknowledged it, and why."""

    consumer: str
    message: Unconfirmed
    why: str

    def __str__(self) -> str:
        m = self.message
        return f"{m.message_id} ({self.consumer}: {m.topic}[{m.partition}]@{m.offset}: {self.why})"


def unconfirmed(subscription: Subscription, *, after_id: int) -> list[Unconfirmed]:
    """Acknowledged messages with a higher outbox id that are neither in the consumer's inbox nor its dead letter."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT m.id, m.message_id, m.topic, r.partition, r."offset" {NOT_TAKEN}
              AND r.outbox_id > %(after)s ORDER BY m.id
            """,
            not_taken_by(subscription, after_id=after_id),
        )
        return [Unconfirmed(*row) for row in cursor.fetchall()]


# Written messages that a consumer has not taken, with their receipts where they have one.
NOT_TAKEN = """
    FROM outbox_message m LEFT JOIN outbox_receipt r ON r.outbox_id = m.id
    WHERE m.id > %(after)s AND m.topic = ANY(%(topics)s)
      AND NOT EXISTS (SELECT FROM processed_message p
                      WHERE p.message_id = m.message_id AND p.consumer = %(consumer)s)
      -- By its place, since the id that an unreadable record claims may be a stranger's; and younger than
      -- the message, since a topic that was recreated counts its offsets anew.
      AND NOT EXISTS (SELECT FROM dead_letter d
                      WHERE d.consumer = %(consumer)s AND d.topic = m.topic
                        AND d.partition = r.partition AND d."offset" = r."offset"
                        AND d.created_at >= m.created_at)
"""


def not_taken_by(subscription: Subscription, *, after_id: int) -> dict[str, Any]:
    """The values of NOT_TAKEN."""
    return {"after": after_id, "topics": list(subscription.topics), "consumer": subscription.consumer}


def find(
    subscription: Subscription, waiting: Sequence[Unconfirmed], offsets: dict[Place, int], log: LogReader
) -> list[Loss]:
    """Those of the unconfirmed messages that can no longer reach the consumer.

    `offsets` must have been read before `waiting`: a consumer commits its database before its offset,
    so what the offset has passed would be in its inbox. Raises KafkaException.
    """
    bounds = _bounds(subscription, waiting, log)

    def has_passed(message: Unconfirmed) -> bool:
        # An offset behind the end is of a log that was cut short: its consumer begins again, and reads what is there.
        return message.offset < offsets.get(message.place, 0) <= bounds[message.place][1]

    passed = [m for m in waiting if has_passed(m)]
    absent = [m for m in waiting if not has_passed(m) and not _within(bounds[m.place], m.offset)]
    if absent:
        time.sleep(SECOND_LOOK_SECONDS)
        bounds = _bounds(subscription, absent, log)
        absent = [m for m in absent if not _within(bounds[m.place], m.offset)]
    return [
        *(Loss(subscription.consumer, m, "the group's offset has passed it") for m in passed),
        *(Loss(subscription.consumer, m, "the log does not hold it") for m in absent),
    ]


def _bounds(subscription: Subscription, waiting: Sequence[Unconfirmed], log: LogReader) -> dict[Place, tuple[int, int]]:
    """The first offset of each place's log and the one behind its last; none where there is no such partition."""
    asked = {m.place for m in waiting}
    there = log.partitions(subscription.topics) if asked else []
    return dict.fromkeys(asked, (0, 0)) | {place: log.bounds(place) for place in there if place in asked}


def _within(bounds: tuple[int, int], offset: int) -> bool:
    low, high = bounds
    return low <= offset < high
