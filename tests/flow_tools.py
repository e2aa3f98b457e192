"""Run relay and consumers inside the test's process, step by step, against the real servers."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar
from uuid import UUID

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from django.db import connection

from devservices import waiting
from messaging.consume import consumer
from messaging.consume.reader import Reader
from messaging.envelope import Envelope, encode_headers
from messaging.models import OutboxMessage, OutboxPending
from messaging.produce.relay import Relay
from messaging.registry import Subscription, subscription, subscriptions
from messaging.store.kafka import admin_client, producer_settings

T = TypeVar("T")

DEADLINE_SECONDS = 60.0


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


def skip_what_the_log_holds() -> None:
    """Move every group to the end of the log: what earlier tests wrote is none of this test's business."""
    for declared in subscriptions():
        # A member that an earlier test killed keeps the group for its session's time, and on a machine under
        # load a leader may just be changing.
        wait_until(lambda d=declared: _moved_to_the_end(d), what="the group is free")


def _moved_to_the_end(declared: Subscription) -> bool:
    try:
        ends = _offsets(_partitions(declared), OffsetSpec.latest())
        places = [TopicPartition(topic, partition, end) for (topic, partition), end in ends.items()]
        request = [ConsumerGroupTopicPartitions(declared.consumer, places)]
        (answer,) = _admin().alter_consumer_group_offsets(request, request_timeout=15).values()
        return not any(part.error for part in answer.result().topic_partitions)
    except KafkaException:
        return False


@cache
def _admin() -> AdminClient:
    """One client for the whole run: a new one takes longer to connect than to answer."""
    return admin_client()


def _partitions(declared: Subscription) -> list[TopicPartition]:
    known = {topic: _admin().list_topics(topic, timeout=15).topics[topic].partitions for topic in declared.topics}
    return [TopicPartition(topic, partition) for topic, partitions in known.items() for partition in partitions]


def _offsets(partitions: list[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], int]:
    answers = _admin().list_offsets(dict.fromkeys(partitions, spec), request_timeout=15)
    return {(part.topic, part.partition): answer.result().offset for part, answer in answers.items()}


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
        return self.relay.shift(seconds=0.1, stop=threading.Event())


def backlog() -> int:
    """How many messages wait for Kafka."""
    return OutboxPending.objects.count()


def lag(consumer_name: str) -> int:
    """How many records the group has not committed yet."""
    partitions = _partitions(subscription(consumer_name))
    request = [ConsumerGroupTopicPartitions(consumer_name, partitions)]
    (answer,) = _admin().list_consumer_group_offsets(request, request_timeout=15).values()
    low, high = _offsets(partitions, OffsetSpec.earliest()), _offsets(partitions, OffsetSpec.latest())
    committed = {(part.topic, part.partition): part.offset for part in answer.result().topic_partitions}
    # A log that was cut short may end before the offset.
    return sum(max(0, high[place] - max(committed[place], low[place])) for place in high)


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
