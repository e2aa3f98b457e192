"""The doctor on the brokers' own settings, which hold for whatever topic does not set its own."""

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from messaging.registry import Topic
from messaging.store.doctor import unsafe
from messaging.store.kafka_checks import Setting, _cluster_settings, examine_cluster
from tests.flow_tools import wait_until

SAFE = {
    "min.insync.replicas": Setting("2"),
    "unclean.leader.election.enable": Setting("false"),
    "auto.create.topics.enable": Setting("false"),
    "offsets.topic.replication.factor": Setting("3"),
}


def alter(kafka: AdminClient, operation: AlterConfigOpType) -> None:
    entry = ConfigEntry("unclean.leader.election.enable", "true", incremental_operation=operation)
    resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
    for future in kafka.incremental_alter_configs([resource]).values():
        future.result(30)


@pytest.fixture
def careless_broker(kafka: AdminClient) -> Iterator[None]:
    alter(kafka, AlterConfigOpType.SET)
    yield
    alter(kafka, AlterConfigOpType.DELETE)
    wait_until(lambda: found_on_brokers(kafka) == set(), what="the broker is as before")


def found_on_brokers(kafka: AdminClient) -> set[tuple[str, str]]:
    found = unsafe(examine_cluster(kafka, []))
    return {(finding.id, finding.subject) for finding in found if finding.subject.startswith("broker")}


class TestTheDoctor:
    def test_finds_a_broker_that_would_elect_a_leader_without_the_last_messages(
        self, kafka: AdminClient, careless_broker: None
    ) -> None:
        wait_until(lambda: found_on_brokers(kafka) == {("K-CLUSTER-UNCLEAN", "broker 1")}, what="the doctor saw it")

    @pytest.mark.parametrize(
        ("name", "value", "finding"),
        [
            ("min.insync.replicas", "1", "K-CLUSTER-MIN-ISR"),
            ("unclean.leader.election.enable", "true", "K-CLUSTER-UNCLEAN"),
            ("auto.create.topics.enable", "true", "K-AUTO-CREATE"),
            ("offsets.topic.replication.factor", "1", "K-OFFSETS-RF"),
        ],
    )
    def test_tells_the_broker_whose_setting_is_unsafe(self, name: str, value: str, finding: str) -> None:
        found = list(_cluster_settings({"1": SAFE, "2": SAFE | {name: Setting(value)}, "3": SAFE}))

        assert [(one.id, one.subject) for one in found] == [(finding, "broker 2")]

    def test_finds_an_inbox_that_forgets_before_the_topic_does(self, kafka: AdminClient, settings: Any) -> None:
        settings.INBOX_RETENTION_DAYS = 30

        found = examine_cluster(kafka, [Topic(name="orders.events")])

        assert {(one.id, one.subject) for one in found} == {("K-INBOX", "orders.events")}
