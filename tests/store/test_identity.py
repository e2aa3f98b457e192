"""Whether these are the topics and the cluster that were provisioned: a name alone proves nothing."""

import uuid
from collections.abc import Iterator
from io import StringIO

import pytest
from confluent_kafka.admin import AdminClient
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from messaging.models import ProvisionedTopic
from messaging.registry import Topic
from messaging.store.findings import Severity
from messaging.store.identity import examine_identity
from messaging.store.topics import create, missing
from tests.flow_tools import wait_until


@pytest.fixture
def topic(kafka: AdminClient, committed_db: None) -> Iterator[Topic]:
    """A declared topic that `ensure_topics` made."""
    topic = Topic(name=f"scratch-{uuid.uuid4().hex[:8]}", partitions=1)
    with override_settings(MESSAGING_TOPICS=[topic]):
        ensure_topics()
        yield topic
    delete(kafka, topic)


def ensure_topics(**options: object) -> str:
    said = StringIO()
    call_command("ensure_topics", stdout=said, **options)
    return said.getvalue()


def delete(kafka: AdminClient, topic: Topic) -> None:
    for future in kafka.delete_topics([topic.name]).values():
        future.result(30)
    wait_until(lambda: all(missing(kafka, [topic]) for _ in range(6)), what="no broker knows the topic")


def make_again(kafka: AdminClient, topic: Topic) -> None:
    delete(kafka, topic)
    create(kafka, [topic])
    wait_until(lambda: not any(missing(kafka, [topic]) for _ in range(6)), what="every broker knows the topic")


def test_a_provisioned_topic_is_the_same_when_it_is_ensured_again(kafka: AdminClient, topic: Topic) -> None:
    ensure_topics()

    assert list(examine_identity(kafka, [topic])) == []


def test_a_topic_that_was_made_again_is_found_and_nobody_is_kept_from_starting(
    kafka: AdminClient, topic: Topic
) -> None:
    make_again(kafka, topic)

    (found,) = examine_identity(kafka, [topic])

    assert (found.id, found.subject, found.severity) == ("K-TOPIC-ID", topic.name, Severity.DEGRADED)


def test_to_ensure_the_topics_does_not_hide_it_until_told_to_adopt_it(kafka: AdminClient, topic: Topic) -> None:
    make_again(kafka, topic)

    said = ensure_topics()

    assert f"{topic.name} is not the topic that was provisioned" in said
    assert [found.id for found in examine_identity(kafka, [topic])] == ["K-TOPIC-ID"]
    assert f"would adopt {topic.name}" in ensure_topics(adopt=True, dry_run=True)
    assert [found.id for found in examine_identity(kafka, [topic])] == ["K-TOPIC-ID"]
    assert f"adopted {topic.name}" in ensure_topics(adopt=True)
    assert list(examine_identity(kafka, [topic])) == []


def test_a_topic_that_ensure_topics_itself_made_again_is_ours(kafka: AdminClient, topic: Topic) -> None:
    delete(kafka, topic)

    ensure_topics()

    assert list(examine_identity(kafka, [topic])) == []


def test_another_cluster_than_the_provisioned_one_is_unsafe(kafka: AdminClient, topic: Topic) -> None:
    ProvisionedTopic.objects.update(cluster_id="another-cluster")

    (found,) = examine_identity(kafka, [topic])

    assert (found.id, found.severity) == ("K-CLUSTER-ID", Severity.UNSAFE)
    assert "provisioned on another-cluster" in found.found


def test_without_its_table_the_command_says_what_to_run_first(topic: Topic) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE provisioned_topic RENAME TO elsewhere")
    try:
        with pytest.raises(CommandError, match=r"manage.py migrate` first"):
            ensure_topics()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO provisioned_topic")
