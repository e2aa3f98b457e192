"""What Kafka really holds: the groups' offsets, the partitions' bounds, and the records themselves."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import uuid4

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from messaging.envelope import Record, claimed_id, sha256
from messaging.store.kafka import consumer_settings

COORDINATOR_SECONDS = 30

_COORDINATOR_MOVES = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}

Place = tuple[str, int]  # topic and partition


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A record of the log: the message id that it names, and the sha256 of the bytes that it holds."""

    offset: int
    message_id: str
    payload_sha256: str


def committed_offsets(admin: AdminClient, group: str) -> dict[Place, int]:
    """The next offset that each partition's consumer will read. Raises KafkaException."""
    deadline = time.monotonic() + COORDINATOR_SECONDS
    while True:
        futures = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=15)
        try:
            answer = futures[group].result(20)
            break
        except KafkaException as error:
            # The group's coordinator moves when a broker dies, and needs a moment to load.
            if time.monotonic() > deadline or error.args[0].code() not in _COORDINATOR_MOVES:
                raise
            time.sleep(0.5)
    return {(part.topic, part.partition): part.offset for part in answer.topic_partitions or [] if part.offset >= 0}


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
        metadata = self._consumer.list_topics(timeout=15).topics
        return [(topic, part) for topic in topics if topic in metadata for part in sorted(metadata[topic].partitions)]

    def bounds(self, place: Place) -> tuple[int, int]:
        """The first offset that is there, and the one after the last. Raises KafkaException."""
        low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=15)
        return low, high

    def read(self, place: Place) -> Iterator[LogEntry]:
        """Every record of the partition as it is now. Raises KafkaException."""
        low, high = self.bounds(place)
        if low >= high:
            return
        self._consumer.assign([TopicPartition(*place, low)])
        while True:
            for message in self._consumer.consume(1000, 5.0):
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        self._consumer.unassign()
                        return
                    raise KafkaException(error)
                yield _entry(message)


def _entry(message: Message) -> LogEntry:
    record = Record("", 0, message.offset() or 0, None, None, message.value() or b"", tuple(message.headers() or ()))
    return LogEntry(record.offset, str(claimed_id(record)), sha256(record.value or b""))
