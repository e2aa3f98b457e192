"""Ask the brokers and tell them, through Kafka's admin client."""

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from devservices import BROKERS
from devservices.waiting import wait_until

SECONDS = 30.0  # until an answer is given up


def topic_settings(admin: AdminClient, topic: str) -> dict[str, str]:
    """What is set for this topic alone."""
    (future,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    own = [entry for entry in future.result(SECONDS).values() if not entry.is_default]
    return {entry.name: str(entry.value) for entry in own}


def set_topic(admin: AdminClient, topic: str, values: dict[str, str | None]) -> None:
    """Set these for the topic alone; None takes a setting back. Asked again while no broker can do it."""
    entries = [
        ConfigEntry(
            name,
            value,
            incremental_operation=AlterConfigOpType.SET if value is not None else AlterConfigOpType.DELETE,
        )
        for name, value in values.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)

    def done() -> bool:
        try:
            result_of(admin.incremental_alter_configs([resource]))
        except KafkaException:
            return False
        return True

    if not wait_until(done, seconds=SECONDS):
        raise TimeoutError(f"no broker set {values} of {topic}")


def bounds(brokers: str, topic: str) -> dict[int, tuple[int, int]]:
    """Each partition's first offset and its end; a partition whose leader is just changing is asked again.

    A consumer asks, for the admin client of librdkafka 2.16.1 hangs or aborts when it is freed after it listed
    offsets of a topic that was made again meanwhile.
    """
    found: dict[int, tuple[int, int]] = {}
    probe = Consumer({"bootstrap.servers": brokers, "group.id": "faults", "log_level": 0})

    def asked() -> bool:
        try:
            for part in probe.list_topics(topic, timeout=SECONDS).topics[topic].partitions:
                found[part] = probe.get_watermark_offsets(TopicPartition(topic, part), timeout=SECONDS)
        except KafkaException:
            return False
        return True

    try:
        if not wait_until(asked, seconds=SECONDS):
            raise TimeoutError(f"{topic} has no leader")
    finally:
        probe.close()
    return found


def in_sync(admin: AdminClient, topic: str) -> set[int]:
    """The brokers that are an in-sync replica of any of its partitions."""
    partitions = admin.list_topics(topic, timeout=SECONDS).topics[topic].partitions.values()
    return {broker for partition in partitions for broker in partition.isrs}


def all_in_sync(admin: AdminClient) -> bool:
    """Whether every replica of every partition has everything, so that any of them may lead. Raises KafkaException."""
    topics = admin.list_topics(timeout=5).topics.values()
    return all(len(part.isrs) == len(BROKERS) for topic in topics for part in topic.partitions.values())


def result_of(futures: Mapping[Any, Future[Any]]) -> None:
    """Wait until all is done. Raises KafkaException."""
    for future in futures.values():
        future.result(SECONDS)
