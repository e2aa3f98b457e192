"""The Kafka client's settings that do not lose data. Where one differs from librdkafka's default, its comment says
so; the others pin the default.

https://github.com/confluentinc/librdkafka/blob/v2.16.1/CONFIGURATION.md
"""

import socket
import time
from typing import Any

import structlog
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient
from django.conf import settings

log = structlog.get_logger(__name__)

# The outer bound of the client's own tries. The relay drops a client sooner: STALLED_SECONDS in produce/relay.py.
DELIVERY_TIMEOUT_MS = 120_000
# A broker that says nothing for so long is given up and its successor asked for (default: 60 s).
SILENCE_TIMEOUT_MS = 15_000
# Bytes in one batch; librdkafka may exceed it by one message.
BATCH_BYTES = 700_000
# A consumer that was killed holds its partitions this long. Kafka allows no less than 6 s by default.
SESSION_TIMEOUT_MS = 6_000
# While a broker is away its client says so several times a second. Of the same words once in so long is enough.
REPEAT_SECONDS = 30.0


def _common() -> dict[str, Any]:
    return {
        "bootstrap.servers": settings.KAFKA_BOOTSTRAP_SERVERS,
        "client.id": f"zero-loss@{socket.gethostname()}",
        # After an outage, come back within a second (default: up to 10 s).
        "reconnect.backoff.max.ms": 1000,
        "socket.timeout.ms": SILENCE_TIMEOUT_MS,
        "allow.auto.create.topics": False,
        # Its own lines on stderr are no JSON, and its `logger` option was seen to end the process with
        # SIGSEGV while a broker died. `error_cb` tells the same.
        "log_level": 0,
        "error_cb": log_error,
    }


def producer_settings() -> dict[str, Any]:
    return _common() | {
        # Acknowledged means: by every in-sync replica, of which there are at least two.
        "acks": "all",
        # Default false. Retries then neither double nor reorder what this producer writes.
        "enable.idempotence": True,
        "max.in.flight.requests.per.connection": 5,
        "retries": 2_147_483_647,
        "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
        # Default 30 s. A leader that waits in vain for its replicas says so before it would be given up as silent.
        "request.timeout.ms": 10_000,
        "retry.backoff.ms": 100,
        "retry.backoff.max.ms": 1000,
        # Default 5. Long enough for a backlog's messages to share batches: the brokers' work is then halved. When few
        # come they need not wait so long, `flush()` sends them at once.
        "linger.ms": 50,
        "batch.num.messages": 10_000,
        # Default 1000000. A topic refuses a batch above its max.message.bytes as a whole: this size and the one
        # message more (envelope.MAX_PAYLOAD_BYTES) are below it together.
        "batch.size": BATCH_BYTES,
        # Default consistent_random (CRC32). This is what Kafka's own tools and Java clients use.
        "partitioner": "murmur2_random",
    }


def consumer_settings(group: str) -> dict[str, Any]:
    return _common() | {
        "group.id": group,
        # Default true, both: they would commit what was delivered and not yet handled.
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Default latest, which skips what a new or reset group has not read. Reading again is
        # harmless here: the inbox absorbs it.
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        # Default false.
        "check.crcs": True,
        # Default range,roundrobin: each change of the group would take every partition from everybody.
        "partition.assignment.strategy": "cooperative-sticky",
        "session.timeout.ms": SESSION_TIMEOUT_MS,  # default 45 s
        "heartbeat.interval.ms": 1500,  # default 3 s; a fraction of the session
        "max.poll.interval.ms": 300_000,
        # Default 100000 and 64 MiB: what is prefetched is stale after a rebalance.
        "queued.min.messages": 1000,
        "queued.max.messages.kbytes": 4096,
        # Default 1000: with so much prefetched the next fetch waits a second, and a backlog is read in gusts.
        "fetch.queue.backoff.ms": 100,
    }


def admin_client() -> AdminClient:
    """A client that reads and provisions the cluster."""
    return AdminClient(_common())


_said: dict[str, float] = {}  # what was logged, and when


def log_error(error: KafkaError) -> None:
    """Tell of a client's trouble: the same words once in 30 s, for it repeats itself with each connection."""
    # What follows counts milliseconds and repetitions, and differs each time.
    if news(error.str().split(" (after ")[0]):
        log.warning("kafka client", error=error.str(), fatal=error.fatal())


def news(what: str) -> bool:
    """Whether these words have not been said for 30 s."""
    now = time.monotonic()
    if now - _said.get(what, -REPEAT_SECONDS) < REPEAT_SECONDS:
        return False
    _said[what] = now
    return True
