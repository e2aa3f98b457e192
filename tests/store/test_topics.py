"""Provisioning, and the doctor that reads the live cluster."""

import json
import uuid
from collections.abc import Iterator
from io import StringIO

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from confluent_kafka.cimpl import NewTopic
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from messaging.registry import Topic, topics
from messaging.store.doctor import examine, unsafe
from messaging.store.findings import Finding
from messaging.store.kafka_checks import examine_cluster
from messaging.store.postgres_checks import examine_database
from messaging.store.topics import create, missing, settings_of
from tests.flow_tools import Flow, wait_until
from tests.process_tools import Processes


@pytest.fixture
def scratch(kafka: AdminClient) -> Iterator[Topic]:
    """The name of a topic that the test makes as it likes; removed afterwards."""
    topic = Topic(name=f"scratch-{uuid.uuid4().hex[:8]}", partitions=1)
    yield topic
    for future in kafka.delete_topics([topic.name]).values():
        future.result(30)


def make(kafka: AdminClient, topic: Topic, *, replicas: int = 3, **settings: str) -> None:
    config = settings_of(topic) | {name.replace("_", "."): value for name, value in settings.items()}
    new = NewTopic(topic.name, num_partitions=1, replication_factor=replicas, config=config)
    for future in kafka.create_topics([new]).values():
        future.result(30)
    wait_until_known(kafka, topic)


def wait_until_known(kafka: AdminClient, topic: Topic) -> None:
    # Any broker may be asked, and each hears of the topic in its own time.
    wait_until(lambda: not any(missing(kafka, [topic]) for _ in range(6)), what="every broker knows the topic")


def alter(kafka: AdminClient, topic: str, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in kafka.incremental_alter_configs([resource]).values():
        future.result(30)


def ids(findings: list[Finding]) -> set[str]:
    return {finding.id for finding in findings}


class TestEnsureTopics:
    def test_makes_what_is_missing_with_safe_settings(self, kafka: AdminClient, scratch: Topic) -> None:
        create(kafka, [scratch])

        wait_until_known(kafka, scratch)
        assert examine_cluster(kafka, [scratch]) == []

    def test_run_twice_changes_nothing(self, kafka: AdminClient, scratch: Topic) -> None:
        create(kafka, [scratch])

        create(kafka, [scratch])

        wait_until_known(kafka, scratch)
        assert examine_cluster(kafka, [scratch]) == []

    def test_says_with_dry_run_what_it_would_make(self, kafka: AdminClient) -> None:
        absent = Topic(name=f"absent-{uuid.uuid4().hex[:8]}")
        said = StringIO()

        with override_settings(MESSAGING_TOPICS=[absent]):
            call_command("ensure_topics", dry_run=True, stdout=said)

        assert f"would make {absent.name}" in said.getvalue()
        assert missing(kafka, [absent]) == [absent]


class TestTheDoctor:
    def test_lets_a_topic_be_that_takes_larger_batches(self, kafka: AdminClient, scratch: Topic) -> None:
        make(kafka, scratch, max_message_bytes="2000000")

        assert examine_cluster(kafka, [scratch]) == []

    def test_finds_nothing_on_the_declared_topics(self, kafka: AdminClient, committed_db: None) -> None:
        assert examine(kafka, topics()) == []

    def test_finds_a_topic_with_one_replica(self, kafka: AdminClient, scratch: Topic) -> None:
        make(kafka, scratch, replicas=1)

        assert "K-RF" in ids(unsafe(examine_cluster(kafka, [scratch])))

    @pytest.mark.parametrize(
        ("setting", "value", "finding"),
        [
            ("min_insync_replicas", "1", "K-MIN-ISR"),
            ("unclean_leader_election_enable", "true", "K-UNCLEAN"),
            ("cleanup_policy", "compact", "K-CLEANUP"),
            ("retention_ms", "1000", "K-RETENTION"),
            ("message_timestamp_type", "CreateTime", "K-TIMESTAMP"),
            ("max_message_bytes", "1000000", "K-MAX-BYTES"),
        ],
    )
    def test_finds_a_topic_with_an_unsafe_setting(
        self, kafka: AdminClient, scratch: Topic, setting: str, value: str, finding: str
    ) -> None:
        make(kafka, scratch, **{setting: value})

        assert ids(unsafe(examine_cluster(kafka, [scratch]))) == {finding}

    def test_finds_a_topic_with_another_number_of_partitions(self, kafka: AdminClient, scratch: Topic) -> None:
        make(kafka, scratch)

        found = examine_cluster(kafka, [Topic(name=scratch.name, partitions=2)])

        assert ids(found) == {"K-PARTITIONS"}

    def test_finds_a_topic_that_is_missing(self, kafka: AdminClient) -> None:
        assert ids(examine_cluster(kafka, [Topic(name="no-such-topic")])) == {"K-TOPIC"}

    def test_finds_the_consumers_offsets_on_an_unsafe_topic(self, flow: Flow, kafka: AdminClient) -> None:
        alter(kafka, "__consumer_offsets", "min.insync.replicas", "1")
        try:
            wait_until(
                lambda: (
                    [(f.id, f.subject) for f in unsafe(examine_cluster(kafka, []))]
                    == [("K-MIN-ISR", "__consumer_offsets")]
                ),
                what="the doctor saw it",
            )
        finally:
            alter(kafka, "__consumer_offsets", "min.insync.replicas", "2")

    def test_finds_a_database_whose_role_does_not_wait_for_the_disk(self, committed_db: None) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER ROLE CURRENT_USER SET synchronous_commit = off")
        try:
            found = examine_database()
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER ROLE CURRENT_USER RESET synchronous_commit")

        assert ids(found) == {"P-SYNCHRONOUS_COMMIT"}

    def test_finds_a_table_that_a_crash_would_empty(self, committed_db: None) -> None:
        with connection.cursor() as cursor:
            cursor.execute("CREATE UNLOGGED TABLE careless (id int)")
        try:
            found = examine_database()
        finally:
            with connection.cursor() as cursor:
                cursor.execute("DROP TABLE careless")

        assert ids(found) == {"P-UNLOGGED"}

    def test_gives_each_finding_a_risk_and_says_how_to_mend_it(self, kafka: AdminClient, scratch: Topic) -> None:
        # Whether the mends do mend: test_mends.py.
        make(kafka, scratch, replicas=1, min_insync_replicas="1")

        found = examine_cluster(kafka, [scratch])

        assert len(found) == 2
        for finding in found:
            assert finding.risk
            assert finding.mend

    def test_answers_machines_in_json_and_with_its_exit_status(
        self, kafka: AdminClient, committed_db: None, scratch: Topic
    ) -> None:
        make(kafka, scratch, min_insync_replicas="1")
        said = StringIO()

        with override_settings(MESSAGING_TOPICS=[scratch]), pytest.raises(SystemExit) as ended:
            call_command("doctor", format="json", stdout=said)

        assert ended.value.code == 1
        assert [finding["id"] for finding in json.loads(said.getvalue())] == ["K-MIN-ISR"]


class TestOnAnUnsafeDatabase:
    """The guard refuses the same way whatever the doctor finds unsafe."""

    @pytest.fixture(autouse=True)
    def careless_table(self, processes: Processes) -> Iterator[None]:
        with connection.cursor() as cursor:
            cursor.execute("CREATE UNLOGGED TABLE careless (id int)")
        yield
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE careless")

    @pytest.mark.parametrize("command", [["consume", "inventory"], ["relay"]], ids=lambda c: c[0])
    def test_relay_and_consumers_refuse_to_start(self, processes: Processes, command: list[str]) -> None:
        process = processes.manage(*command)

        assert process.wait(60) == 1
        assert "P-UNLOGGED careless" in processes.output(process)
        assert "--unsafe" in processes.output(process)

    def test_a_consumer_starts_when_told_to(self, processes: Processes) -> None:
        process = processes.manage("consume", "inventory", "--unsafe", LOG_LEVEL="INFO")

        processes.wait_for_output(process, "partitions assigned")
        process.terminate()

        assert process.wait(60) == 0
