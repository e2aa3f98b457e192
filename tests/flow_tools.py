"""Run relay and consumers inside the test's process, step by step, against the real servers."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar
from uuid import UUID

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from django.conf import settings
from django.db import connection

from config.registry import TOPICS
from devservices import waiting
from messaging.consume import consumer
from messaging.consume.reader import Reader
from messaging.envelope import Envelope, encode_headers
from messaging.models import OutboxMessage, OutboxPending
from messaging.produce.relay import Relay
from messaging.produce.shards import murmur2
from messaging.prove.kafka_log import committed
from messaging.registry import Subscription, subscription, subscriptions
from messaging.store.kafka import consumer_settings, producer_settings

T = TypeVar("T")

DEADLINE_SECONDS = 60.0
PARTITIONS = TOPICS[0].partitions  # of orders.events


def partition_of(key: str) -> int:
    """Where the messages of this key stand in orders.events."""
    return murmur2(key.encode()) % PARTITIONS


def wait_until(condition: Callable[[], object], *, what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Ask until the condition holds; fail with `what` when it did not in time."""
    assert waiting.wait_until(lambda: bool(condition()), seconds=seconds), f"waited {seconds:.0f} s in vain: {what}"


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """What these return, each in a thread with a database connection of its own, begun in the same moment."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        try:
            barrier.wait(30)
            return call()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


@contextmanager
def held_up_at(table: str) -> Iterator[None]:
    """Nobody else gets at the table meanwhile."""
    other = connection.copy()
    try:
        other.set_autocommit(False)
        other.cursor().execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield
    finally:
        other.rollback()
        other.close()


@cache
def _probe(servers: str, group: str) -> Consumer:
    """Asks for a group's offsets, and is no member of it. One for all tests: to connect takes longer than to ask."""
    # It outlives servers that a test kills, and what it says of them is no test's business.
    return Consumer(consumer_settings(group) | {"bootstrap.servers": servers, "error_cb": lambda _: None})


def _partitions(probe: Consumer, declared: Subscription) -> list[TopicPartition]:
    return [
        TopicPartition(topic, partition)
        for topic in declared.topics
        for partition in probe.list_topics(topic, timeout=15).topics[topic].partitions
    ]


def skip_what_the_log_holds() -> None:
    """Move every group to the end of the log: what earlier tests wrote is none of this test's business."""
    with ThreadPoolExecutor() as threads:
        list(threads.map(_skip_for, subscriptions()))


def _skip_for(declared: Subscription) -> None:
    # A member that an earlier test killed keeps the group for its session's time, and on a machine under
    # load a leader may just be changing.
    wait_until(lambda: _moved_to_the_end(declared), what="the group is free")


def _moved_to_the_end(declared: Subscription) -> bool:
    ends = []
    try:
        probe = _probe(settings.KAFKA_BOOTSTRAP_SERVERS, declared.consumer)
        for part in _partitions(probe, declared):
            _, high = probe.get_watermark_offsets(part, timeout=15)
            ends.append(TopicPartition(part.topic, part.partition, high))
        answers = probe.commit(offsets=ends, asynchronous=False)
    except KafkaException:
        return False
    return not any(answer.error for answer in answers)


class Flow:
    """The relay and the consumers of one test."""

    def __init__(self) -> None:
        self.relay = Relay()
        self._readers: dict[str, Reader] = {}

    def relay_all(self) -> None:
        """Publish and settle until the queue is empty."""
        wait_until(lambda: self._shift() and backlog() == 0, what="the queue is empty")

    def consume(self, name: str, *, until: Callable[[], object], what: str = "consumed") -> None:
        """Run batches of one consumer until the condition holds."""
        declared = subscription(name)
        reader = self.reader(name)
        wait_until(lambda: (consumer.run_once(declared, reader), until())[1], what=what)

    def consume_all(self, name: str) -> None:
        """Run batches of one consumer until its committed offsets have reached the end of the log."""
        self.consume(name, until=lambda: lag(name) == 0, what=f"{name} read everything")

    def settle_everything(self) -> None:
        """Orders to inventory and back, until nothing is pending."""
        self.relay_all()
        self.consume_all("inventory")
        self.relay_all()
        self.consume_all("orders")

    def reader(self, name: str) -> Reader:
        """The consumer's one reader in this test."""
        if name not in self._readers:
            self._readers[name] = Reader(subscription(name))
        return self._readers[name]

    def close(self) -> None:
        """Leave the groups; what was not committed is delivered again."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _shift(self) -> bool:
        return self.relay.shift(seconds=0.02, stop=threading.Event())


def backlog() -> int:
    """How many messages wait for Kafka."""
    return OutboxPending.objects.count()


def lag(consumer_name: str) -> int:
    """How many records the group has not committed yet."""
    probe = _probe(settings.KAFKA_BOOTSTRAP_SERVERS, consumer_name)
    total = 0
    for part in committed(probe, _partitions(probe, subscription(consumer_name))):
        low, high = probe.get_watermark_offsets(part, timeout=15)
        # A log that was cut short may end before the offset.
        total += max(0, high - max(part.offset, low))
    return total


def produce_raw(
    topic: str,
    *,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, str | bytes | None]] = (),
    partition: int = -1,
) -> tuple[int, int]:
    """Write any bytes into a topic, as a stranger could. Returns partition and offset."""
    places: list[tuple[int, int]] = []
    producer = Producer(producer_settings())
    options = {} if partition < 0 else {"partition": partition}
    producer.produce(
        topic,
        key=key,
        value=value,
        headers=list(headers),
        on_delivery=lambda error, message: places.append((message.partition(), message.offset())),
        **options,
    )
    assert producer.flush(30) == 0
    producer.close()
    return places[0]


def produce_envelopes(topic: str, envelopes: Sequence[Envelope]) -> None:
    """Write well-formed messages into a topic, past the outbox: redeliveries, or a stranger's."""
    producer = Producer(producer_settings())
    for envelope in envelopes:
        producer.produce(
            topic,
            key=envelope.partition_key.encode(),
            value=envelope.payload.encode(),
            headers=encode_headers(envelope),
        )
    assert producer.flush(30) == 0
    producer.close()


def produce_envelope(topic: str, envelope: Envelope) -> None:
    """`produce_envelopes` for one."""
    produce_envelopes(topic, [envelope])


def envelope_of(message_id: UUID) -> Envelope:
    """A written message as the wire carries it."""
    row = OutboxMessage.objects.get(message_id=message_id)
    return Envelope(
        message_id=row.message_id,
        message_type=row.message_type,
        source=row.source,
        partition_key=row.partition_key,
        sequence=row.sequence,
        payload=row.payload,
        occurred_at=row.created_at,
        traceparent=row.traceparent,
    )
