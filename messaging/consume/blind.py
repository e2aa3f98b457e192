"""Whether a consumer's client has gone blind.

librdkafka can be left with a leader that is none any more, and then reads nothing, for ever and without a word
(confluentinc/librdkafka #4898 after a topic was recreated, #5430 after a partition had no leader for a moment).
Another client, which knows nothing yet, tells.
"""

from collections.abc import Iterable
from uuid import uuid4

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from messaging.store.kafka import consumer_settings

Partition = tuple[str, int]  # topic, number

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 2.0


def overlooked(mine: Consumer, partitions: Iterable[Partition]) -> str:
    """The place of a record that another client reads where this one stands in one of these partitions of its own.
    Empty when there is none.

    Also empty when the brokers do not answer: then nobody reads, and nothing can be told.
    """
    probe = Consumer(consumer_settings(f"probe-{uuid4().hex}"))
    try:
        for part in _positions(mine, partitions):
            low, high = probe.get_watermark_offsets(TopicPartition(part.topic, part.partition), timeout=ANSWER_SECONDS)
            if high in (low, part.offset):
                continue
            probe.assign([part])
            message = probe.poll(ANSWER_SECONDS)
            if message is not None and message.error() is None:
                return f"{part.topic}[{part.partition}]@{message.offset()}"
    except KafkaException as error:
        log.info("no broker says whether there is more to read", error=str(error))
    finally:
        probe.close()
    return ""


def _positions(mine: Consumer, partitions: Iterable[Partition]) -> list[TopicPartition]:
    """Where it reads on in each of these partitions: after what it read, or from the group's offset, or the start."""
    parts = mine.position([TopicPartition(*partition) for partition in partitions])
    fresh = [TopicPartition(part.topic, part.partition) for part in parts if part.offset < 0]
    if fresh:
        parts = [part for part in parts if part.offset >= 0] + mine.committed(fresh, timeout=ANSWER_SECONDS)
    return [
        TopicPartition(part.topic, part.partition, part.offset if part.offset >= 0 else OFFSET_BEGINNING)
        for part in parts
    ]
