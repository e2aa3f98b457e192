"""Relay and consumers do not start where an acknowledged message can be lost."""

import threading

import structlog
from confluent_kafka import KafkaException
from django.conf import settings
from django.db import Error as DatabaseError

from messaging.errors import UnsafeCluster
from messaging.registry import topics
from messaging.store import doctor
from messaging.store.kafka import admin_client

log = structlog.get_logger(__name__)

RETRY_SECONDS = 2.0

_examined = threading.Event()  # set once this process may go on: the servers are safe, or need not be


def refuse_unsafe() -> None:
    """Examine the cluster and database once in this process.

    Raises UnsafeCluster with every finding, KafkaException or OperationalError when out of reach.
    The setting ALLOW_UNSAFE_CLUSTER turns the refusal into a warning.
    """
    if _examined.is_set():
        return
    findings = doctor.unsafe(doctor.examine(admin_client(), topics()))
    if findings and not settings.ALLOW_UNSAFE_CLUSTER:
        listing = "; ".join(f"{f.id} {f.subject}: {f.found}" for f in findings)
        raise UnsafeCluster(
            f"{listing}. Run `python manage.py doctor` for the risk and the mend of each, or start with --unsafe."
        )
    for finding in findings:
        log.warning("unsafe, started all the same", finding=finding.id, subject=finding.subject)
    _examined.set()


def wait_until_safe(stop: threading.Event) -> None:
    """`refuse_unsafe`, waiting out servers that do not answer yet. Raises UnsafeCluster."""
    while not stop.is_set():
        try:
            refuse_unsafe()
            return
        except (KafkaException, DatabaseError) as error:
            log.warning("waiting for Kafka and the database", error=str(error))
            stop.wait(RETRY_SECONDS)
