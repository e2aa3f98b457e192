"""What the doctor says while a broker is down or a clock is wrong: states that heal by themselves."""

import time
import uuid
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devservices import Stack
from messaging.registry import Topic, topics
from messaging.store import postgres_checks
from messaging.store.doctor import unsafe
from messaging.store.findings import Severity
from messaging.store.kafka_checks import examine_cluster
from messaging.store.postgres_checks import examine_database
from messaging.store.topics import missing, settings_of
from tests.flow_tools import wait_until

STOPPED, RUNNING = 1, 2  # brokers' ids


class TestWhileABrokerIsDown:
    @pytest.fixture
    def on_two_brokers(self, kafka: AdminClient, stack: Stack) -> Iterator[tuple[Topic, Topic]]:
        """A topic on the stopped broker alone, and one that it shares with another."""
        alone, shared = (Topic(f"{name}-{uuid.uuid4().hex[:8]}", partitions=1) for name in ("alone", "shared"))
        new = [
            NewTopic(topic.name, 1, replica_assignment=[brokers], config=settings_of(topic))
            for topic, brokers in ((alone, [STOPPED]), (shared, [STOPPED, RUNNING]))
        ]
        for future in kafka.create_topics(new).values():
            future.result(30)
        wait_until(lambda: not any(missing(kafka, [alone, shared]) for _ in range(6)), what="every broker knows them")
        stack.stop(f"kafka-{STOPPED}")
        try:
            yield alone, shared
        finally:
            stack.start(f"kafka-{STOPPED}")
            stack.wait_ready(f"kafka-{STOPPED}")
            for future in kafka.delete_topics([alone.name, shared.name]).values():
                future.result(30)
            wait_until(lambda: not examine_cluster(kafka, topics()), what="every replica has caught up")

    def test_names_what_cannot_be_written_and_what_merely_lacks_a_copy(
        self, kafka: AdminClient, on_two_brokers: tuple[Topic, Topic]
    ) -> None:
        alone, shared = on_two_brokers
        whole = topics()[0]

        def found_now() -> set[tuple[str, str]]:
            try:
                found = examine_cluster(kafka, [alone, shared, whole])
            except KafkaException:  # the broker that died a moment ago was asked
                return set()
            return {(f.subject, f.id) for f in found if f.severity is Severity.DEGRADED}

        expected = {(alone.name, "K-LEADERLESS"), (shared.name, "K-MIN-ISR-NOW"), (whole.name, "K-ISR")}
        wait_until(lambda: expected <= found_now(), what="the doctor told the three states apart")
        assert {("cluster", "K-BROKERS")} <= found_now()
        assert not unsafe(examine_cluster(kafka, [whole]))
        (leaderless,) = [f for f in examine_cluster(kafka, [alone]) if f.id == "K-LEADERLESS"]
        assert f"--election-type UNCLEAN --topic {alone.name} --partition 0" in leaderless.mend


class TestTheClock:
    @pytest.mark.parametrize(("seconds", "said"), [(3600, "ahead of"), (-3600, "behind")])
    def test_that_differs_from_the_database_s_is_found(
        self, committed_db: None, monkeypatch: pytest.MonkeyPatch, seconds: int, said: str
    ) -> None:
        monkeypatch.setattr(postgres_checks, "time", SimpleNamespace(time=lambda: time.time() + seconds))

        (finding,) = examine_database()

        assert (finding.id, finding.severity) == ("P-CLOCK", Severity.DEGRADED)
        assert f"3600.0 s {said} the database's" in finding.found

    def test_that_agrees_is_no_finding(self, committed_db: None) -> None:
        assert examine_database() == []
