"""Provision the topics, idempotently: three replicas, two of which must have a message to acknowledge it."""

import time
from collections.abc import Sequence

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from messaging.registry import Topic

log = structlog.get_logger(__name__)

REPLICATION_FACTOR = 3
MIN_INSYNC_REPLICAS = 2
MAX_BATCH_BYTES = 1_048_588  # Kafka's default; the producer's BATCH_BYTES and one more message fit into it
DAY_MS = 24 * 60 * 60 * 1000


def settings_of(topic: Topic) -> dict[str, str]:
    """The topic's settings; `doctor` holds the live topic against the same ones."""
    return {
        "cleanup.policy": "delete",
        "min.insync.replicas": str(MIN_INSYNC_REPLICAS),
        "unclean.leader.election.enable": "false",
        "retention.ms": str(topic.retention_days * DAY_MS),
        # By the broker's clock: a producer's wrong clock could expire a segment at once, or never.
        "message.timestamp.type": "LogAppendTime",
        # Of a whole batch, not of a message.
        "max.message.bytes": str(MAX_BATCH_BYTES),
    }


def wait_for_brokers(admin: AdminClient, *, count: int, timeout: float) -> int:
    """Wait until `count` brokers answer; how many did when the time was up."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            alive = len(admin.list_topics(timeout=5).brokers)
        except KafkaException as error:
            log.info("waiting for Kafka", error=str(error))
            alive = 0
        if alive >= count or time.monotonic() >= deadline:
            return alive
        time.sleep(0.5)


def missing(admin: AdminClient, topics: Sequence[Topic]) -> list[Topic]:
    """The declared topics that the cluster does not have."""
    present = admin.list_topics(timeout=15).topics
    return [topic for topic in topics if topic.name not in present]


def create(admin: AdminClient, topics: Sequence[Topic], *, timeout: float = 30) -> None:
    """Make the topics. One that somebody else made meanwhile is left as it is. Raises KafkaException."""
    if not topics:
        return
    futures = admin.create_topics(
        [
            NewTopic(
                topic.name,
                num_partitions=topic.partitions,
                replication_factor=REPLICATION_FACTOR,
                config=settings_of(topic),
            )
            for topic in topics
        ],
        operation_timeout=timeout,
    )
    for future in futures.values():
        try:
            future.result(timeout)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise
