"""What Kafka really holds: the groups' offsets, the partitions' bounds, and the records themselves."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from messaging.envelope import claimed_id, sha256
from messaging.registry import Subscription
from messaging.store.kafka import consumer_settings
from messaging.store.records import record_of

ANSWER_SECONDS = 15.0  # longer than a new leader takes
COORDINATOR_SECONDS = 30  # the group's coordinator moves when a broker dies, and needs a moment

Place = tuple[str, int]  # topic and partition


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A record of the log: the message id that it names (empty where it names none), the sha256 of the bytes that
    it holds, and when the broker appended it, in milliseconds since 1970."""

    offset: int
    message_id: str
    payload_sha256: str
    appended_at: int


def committed_offsets(subscription: Subscription) -> dict[Place, int]:
    """The next offset that the consumer will read of each partition. Raises KafkaException."""
    # Not by AdminClient.list_consumer_group_offsets: when the group's coordinator has just died,
    # librdkafka 2.16.1 ends the process with SIGSEGV. This asks the same and joins no group.
    consumer = Consumer(consumer_settings(subscription.consumer))
    try:
        places = _partitions(consumer, subscription.topics)
        parts = committed(consumer, [TopicPartition(*place) for place in places])
    finally:
        consumer.close()
    return {(part.topic, part.partition): part.offset for part in parts if part.offset >= 0}


def committed(consumer: Consumer, parts: list[TopicPartition]) -> list[TopicPartition]:
    """What the consumer's group has committed of these, also while its coordinator moves. Raises KafkaException."""
    deadline = time.monotonic() + COORDINATOR_SECONDS
    while True:
        try:
            return consumer.committed(parts, timeout=COORDINATOR_SECONDS)
        except KafkaException as error:
            if error.args[0].code() not in _COORDINATOR_MOVES or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


_COORDINATOR_MOVES = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}


def _partitions(consumer: Consumer, topics: Sequence[str]) -> list[Place]:
    metadata = consumer.list_topics(timeout=ANSWER_SECONDS).topics
    return [(topic, part) for topic in topics if topic in metadata for part in sorted(metadata[topic].partitions)]


class LogReader:
    """Reads the log without being a member of any group. Use it as a context manager."""

    def __init__(self) -> None:
        # assign() and no commit: nobody else's offsets move.
        self._consumer = Consumer(consumer_settings(f"audit-{uuid4().hex}") | {"enable.partition.eof": True})

    def __enter__(self) -> "LogReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def partitions(self, topics: Sequence[str]) -> list[Place]:
        """Every partition of these topics. A topic that does not exist has none."""
        return _partitions(self._consumer, topics)

    def bounds(self, place: Place) -> tuple[int, int]:
        """The first offset that is there, and the one after the last. Raises KafkaException."""
        low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=ANSWER_SECONDS)
        return low, high

    def read(self, place: Place) -> Iterator[LogEntry]:
        """Every record of the partition as it is now. Raises KafkaException, also where nothing comes for too long."""
        low, high = self.bounds(place)
        if low >= high:
            return
        self._consumer.assign([TopicPartition(*place, low)])
        heard_at = time.monotonic()
        while True:
            first = self._consumer.poll(1.0)
            if time.monotonic() - heard_at > ANSWER_SECONDS:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "{}[{}] does not answer".format(*place)))
            # `consume(n, t)` would wait out its time: with 0 it takes what is there already.
            for message in [first, *self._consumer.consume(1000, 0)] if first else []:
                error = message.error()
                if error is None:
                    yield _entry(message)
                    heard_at = time.monotonic()  # what the caller did with it took its own time
                    if (message.offset() or 0) + 1 >= high:
                        # The broker would say "end" only after half a second in which nothing came.
                        self._consumer.unassign()
                        return
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._consumer.unassign()
                    return
                elif error.code() == KafkaError._BAD_COMPRESSION:
                    # It claims to unpack to more than the client takes, so it is none of ours: read on behind it.
                    self._consumer.seek(TopicPartition(*place, (message.offset() or 0) + 1))
                elif not error.retriable():
                    raise KafkaException(error)


def _entry(message: Message) -> LogEntry:
    record = record_of(message)
    _, appended_at = message.timestamp()
    return LogEntry(record.offset, str(claimed_id(record) or ""), sha256(record.value or b""), appended_at)
