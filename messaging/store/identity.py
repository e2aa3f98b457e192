"""Which topics these are, and on which cluster: `ensure_topics` writes it down, the doctor compares.

A name proves nothing. A topic that was deleted and recreated is empty under the same name, and another cluster takes
messages that none of our consumers will read.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from messaging.models import ProvisionedTopic
from messaging.registry import Topic
from messaging.store.findings import Finding, Severity

ADOPT = "python manage.py ensure_topics --adopt"


@dataclass(frozen=True, slots=True)
class Identity:
    """Kafka's own ids, as text."""

    topic_id: str
    cluster_id: str


def of_topics(admin: AdminClient, names: Sequence[str], *, timeout: float = 15) -> dict[str, Identity]:
    """Each topic's identity; waits for a new one, of which each broker hears in its time. Raises KafkaException."""
    if not names:
        return {}
    deadline = time.monotonic() + timeout
    cluster_id = admin.describe_cluster(request_timeout=15).result(20).cluster_id
    while True:
        described = admin.describe_topics(TopicCollection(list(names)), request_timeout=15)
        try:
            return {name: Identity(str(future.result(20).topic_id), cluster_id) for name, future in described.items()}
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def write_down(identities: Mapping[str, Identity], *, replace: bool) -> None:
    """Remember which topics these are; with `replace` also where another was remembered."""
    ProvisionedTopic.objects.bulk_create(
        [
            ProvisionedTopic(topic=name, topic_id=identity.topic_id, cluster_id=identity.cluster_id)
            for name, identity in identities.items()
        ],
        ignore_conflicts=not replace,
        update_conflicts=replace,
        unique_fields=["topic"] if replace else None,
        update_fields=["topic_id", "cluster_id"] if replace else None,
    )


def others_than_provisioned(live: Mapping[str, Identity]) -> dict[str, Identity]:
    """Those that another topic was provisioned as, with what that was. A topic never provisioned passes."""
    provisioned = ProvisionedTopic.objects.in_bulk(live.keys())
    known = {name: Identity(topic.topic_id, topic.cluster_id) for name, topic in provisioned.items()}
    return {name: known[name] for name, identity in live.items() if known.get(name, identity) != identity}


def examine_identity(admin: AdminClient, topics: Sequence[Topic]) -> Iterator[Finding]:
    """What is another topic, or on another cluster, than what was provisioned."""
    present = admin.list_topics(timeout=15).topics
    live = of_topics(admin, [topic.name for topic in topics if topic.name in present])
    for name, provisioned in others_than_provisioned(live).items():
        if live[name].cluster_id != provisioned.cluster_id:
            yield Finding(
                "K-CLUSTER-ID",
                name,
                f"cluster {live[name].cluster_id}, provisioned on {provisioned.cluster_id}",
                "messages leave the outbox for a cluster that the consumers may not read",
                "set KAFKA_BOOTSTRAP_SERVERS to the cluster that was provisioned; if it was moved on purpose: "
                f"`{ADOPT}`, then `python manage.py audit --repair --apply`",
            )
        else:
            yield Finding(
                "K-TOPIC-ID",
                name,
                f"topic id {live[name].topic_id}, provisioned as {provisioned.topic_id}",
                "it was deleted and recreated: what had not been read is gone, until the audit puts it back",
                f"`python manage.py audit --repair --apply`, then `{ADOPT}`",
                Severity.DEGRADED,
            )
