"""What Celery runs. Beat's ticks carry no data: one that is lost, doubled or late is harmless."""

import threading

import structlog
from celery import shared_task
from confluent_kafka import KafkaException
from django.conf import settings
from django.db import Error as DatabaseError

from messaging.errors import UnsafeCluster
from messaging.produce.relay import Relay
from messaging.prove.audit import audit as run_audit
from messaging.prove.repair import repair
from messaging.prove.report import MOST_SHOWN
from messaging.prove.retention import prune as run_prune
from messaging.store.guard import refuse_unsafe

log = structlog.get_logger(__name__)

stopping = threading.Event()
_local = threading.local()


@shared_task(name="messaging.tasks.relay")  # type: ignore[untyped-decorator]  # Celery has no types
def relay() -> None:
    """Work one shift and call up the next; do neither while other relays hold every shard."""
    try:
        refuse_unsafe()
        worked = _own_relay().shift(seconds=settings.RELAY_SHIFT_SECONDS, stop=stopping)
    except (DatabaseError, KafkaException) as error:
        log.warning("the shift ended early, the next tick starts another", error=str(error))
        return
    except UnsafeCluster as error:
        log.error("no shift, an acknowledged message could be lost", error=str(error))
        return
    if worked and not stopping.is_set():
        # Beat's next tick may be a second away: hand over at once.
        relay.apply_async(expires=5)


@shared_task(name="messaging.tasks.audit")  # type: ignore[untyped-decorator]
def audit(*, everything: bool = False) -> None:
    """Audit what is new, or everything, and put back what Kafka lost. Logs the report."""
    try:
        report = run_audit(new_only=not everything)
        if report.losses and settings.AUDIT_REPAIRS:
            repair(report.losses)
    except (DatabaseError, KafkaException) as error:
        log.warning("the audit could not read everything, the next one will", error=str(error))
        return
    (log.info if report.adds_up else log.error)("audit", **report.as_json(most_ids=MOST_SHOWN))


@shared_task(name="messaging.tasks.prune")  # type: ignore[untyped-decorator]
def prune() -> None:
    """Remove what is done with and older than the settings say."""
    try:
        pruned = run_prune()
    except DatabaseError as error:
        log.warning("prune ended early, the next one goes on", error=str(error))
        return
    log.info("pruned", messages=pruned.messages, inbox=pruned.inbox)


def _own_relay() -> Relay:
    """This thread's relay: made after the fork, and kept with its producer from shift to shift."""
    if not hasattr(_local, "relay"):
        _local.relay = Relay()
    own: Relay = _local.relay
    return own
