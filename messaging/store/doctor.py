"""Read the live cluster and database, and say what could lose an acknowledged message."""

from collections.abc import Iterable, Sequence

from confluent_kafka.admin import AdminClient

from messaging.registry import Topic
from messaging.store.findings import Finding, Severity
from messaging.store.identity import examine_identity
from messaging.store.kafka_checks import examine_cluster
from messaging.store.postgres_checks import examine_database


def examine(admin: AdminClient, topics: Sequence[Topic]) -> list[Finding]:
    """All findings, the cluster's first. Raises KafkaException or OperationalError when out of reach."""
    return [*examine_cluster(admin, topics), *examine_identity(admin, topics), *examine_database()]


def unsafe(findings: Iterable[Finding]) -> list[Finding]:
    """Those that a relay or consumer must not start on."""
    return [finding for finding in findings if finding.severity is Severity.UNSAFE]
