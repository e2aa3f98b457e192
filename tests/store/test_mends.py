"""The doctor's mends are commands: run as they are printed, they mend what was found."""

import json
import os
import shlex
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from confluent_kafka.cimpl import NewTopic
from django.conf import settings
from django.db import connection

from devservices.jars import ensure_jars
from devservices.kafka_java import KafkaJava
from messaging.registry import Topic
from messaging.store.doctor import unsafe
from messaging.store.findings import Finding
from messaging.store.kafka_checks import Setting, _cluster_settings, _reassign, examine_cluster
from messaging.store.postgres_checks import _mend, examine_database
from messaging.store.topics import missing, settings_of
from tests.flow_tools import wait_until

Shell = Callable[[str], str]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Run a command line where Kafka's scripts are on the PATH; what it printed.

    kafka-configs.sh is Kafka's own. The class of kafka-reassign-partitions.sh is in none of our jars: it only
    prints the file that it was given.
    """
    java = KafkaJava(os.pathsep.join(map(str, ensure_jars()))).command("kafka.admin.ConfigCommand")
    for name, line in {
        "kafka-configs.sh": f'exec {shlex.join(java)} "$@"',
        "kafka-reassign-partitions.sh": '[ "$1 $3 $4" = "--bootstrap-server --execute --reassignment-json-file" ] && '
        'cat "$5"',
    }.items():
        script = tmp_path / name
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def run(command: str) -> str:
        ended = subprocess.run(["/bin/bash", "-c", command], env=env, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr + ended.stdout
        return ended.stdout

    return run


@pytest.fixture
def careless(kafka: AdminClient) -> Iterator[Topic]:
    """A topic whose every setting is unsafe, with one replica."""
    topic = Topic(name=f"careless-{uuid.uuid4().hex[:8]}", partitions=4)
    config = settings_of(topic) | {
        "min.insync.replicas": "1",
        "unclean.leader.election.enable": "true",
        "cleanup.policy": "compact",
        "retention.ms": "1000",
        "message.timestamp.type": "CreateTime",
        "max.message.bytes": "1000000",
    }
    for future in kafka.create_topics([NewTopic(topic.name, 4, 1, config=config)]).values():
        future.result(30)
    wait_until(lambda: not any(missing(kafka, [topic]) for _ in range(6)), what="every broker knows the topic")
    yield topic
    for future in kafka.delete_topics([topic.name]).values():
        future.result(30)


def alter_broker(kafka: AdminClient, operation: AlterConfigOpType) -> None:
    entry = ConfigEntry("unclean.leader.election.enable", "true", incremental_operation=operation)
    resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
    for future in kafka.incremental_alter_configs([resource]).values():
        future.result(30)


@pytest.fixture
def careless_broker(kafka: AdminClient) -> Iterator[None]:
    alter_broker(kafka, AlterConfigOpType.SET)
    yield
    alter_broker(kafka, AlterConfigOpType.DELETE)
    wait_until(lambda: of_brokers(kafka) == [], what="the broker is as before")


def of_brokers(kafka: AdminClient) -> list[Finding]:
    return [finding for finding in examine_cluster(kafka, []) if finding.subject.startswith("broker")]


class TestOfKafka:
    def test_makes_a_topic_safe_setting_by_setting(self, kafka: AdminClient, careless: Topic, shell: Shell) -> None:
        found = [finding for finding in examine_cluster(kafka, [careless]) if finding.id != "K-RF"]
        assert len(found) == 6

        for finding in found:
            shell(finding.mend)

        wait_until(lambda: {f.id for f in unsafe(examine_cluster(kafka, [careless]))} == {"K-RF"}, what="all is mended")

    def test_plans_three_replicas_for_each_partition_and_moves_none(
        self, kafka: AdminClient, careless: Topic, shell: Shell
    ) -> None:
        (found,) = [finding for finding in examine_cluster(kafka, [careless]) if finding.id == "K-RF"]

        plan = json.loads(shell(found.mend))

        now = kafka.list_topics(careless.name, timeout=15).topics[careless.name].partitions
        assert [part["partition"] for part in plan["partitions"]] == sorted(now)
        for part in plan["partitions"]:
            assert part["topic"] == careless.name
            assert sorted(part["replicas"]) == [1, 2, 3]
            assert part["replicas"][:1] == now[part["partition"]].replicas

    def test_says_first_to_start_brokers_where_three_are_not_there(self, kafka: AdminClient, careless: Topic) -> None:
        topic = kafka.list_topics(careless.name, timeout=15).topics[careless.name]

        assert _reassign(careless.name, topic, [1, 2]).startswith("start 3 brokers")

    def test_overrides_what_one_broker_was_told_by_name(
        self, kafka: AdminClient, careless_broker: None, shell: Shell
    ) -> None:
        wait_until(lambda: of_brokers(kafka), what="the doctor saw it")
        (found,) = of_brokers(kafka)

        shell(found.mend)

        wait_until(lambda: of_brokers(kafka) == [], what="the doctor finds nothing any more")

    def test_goes_to_the_default_of_all_brokers_where_none_was_told_by_name(
        self, kafka: AdminClient, shell: Shell
    ) -> None:
        (found,) = _cluster_settings({"2": {"min.insync.replicas": Setting("1")}})

        assert f"--bootstrap-server {settings.KAFKA_BOOTSTRAP_SERVERS} " in found.mend
        assert "--entity-default" in found.mend
        shell(found.mend)  # it is 2 already; what counts is that Kafka takes it


# All that PostgreSQL takes for off; it keeps what was written.
@pytest.mark.parametrize("off", ["off", "OFF", "Off", "false", "FALSE", "no", "No", "0"])
@pytest.mark.parametrize("whose", ["ROLE CURRENT_USER", "ROLE ALL", "DATABASE", "ROLE CURRENT_USER IN DATABASE"])
class TestOfARoleOrDatabaseThatDoesNotWaitForTheDisk:
    def test_is_found_however_it_is_written_and_mended(self, committed_db: None, off: str, whose: str) -> None:
        database = connection.ops.quote_name(connection.settings_dict["NAME"])
        subject = f"{whose} {database}" if whose.endswith("DATABASE") else whose
        execute(f"ALTER {subject} SET synchronous_commit = '{off}'")
        try:
            (found,) = examine_database()
            execute(found.mend)
            after = examine_database()
        finally:
            execute(f"ALTER {subject} RESET synchronous_commit")

        assert (found.id, found.found) == ("P-SYNCHRONOUS_COMMIT", f"synchronous_commit = {off}")
        assert after == []


class TestOfPostgreSQL:
    @pytest.mark.parametrize("on", ["on", "TRUE", "yes", "1", "local", "remote_apply"])
    def test_is_not_asked_for_where_the_disk_is_waited_for(self, committed_db: None, on: str) -> None:
        execute(f"ALTER ROLE CURRENT_USER SET synchronous_commit = '{on}'")
        try:
            assert examine_database() == []
        finally:
            execute("ALTER ROLE CURRENT_USER RESET synchronous_commit")

    def test_logs_a_table_whose_name_needs_quotes(self, committed_db: None) -> None:
        execute('CREATE UNLOGGED TABLE "Care less" (id int)')
        try:
            (found,) = examine_database()
            execute(found.mend)
            assert examine_database() == []
        finally:
            execute('DROP TABLE "Care less"')

    @pytest.mark.parametrize(
        ("source", "mend"),
        [
            ("configuration file", "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();"),
            ("default", "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf();"),
            # ALTER SYSTEM would be overruled.
            ("command line", "start the server without `-c fsync=off`"),
            ("client", "take fsync out of the options in DATABASE_URL and config/settings.py"),
        ],
    )
    def test_goes_to_the_place_that_the_setting_comes_from(self, source: str, mend: str) -> None:
        assert _mend("fsync", source) == mend


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
