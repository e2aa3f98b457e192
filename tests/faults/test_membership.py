"""Members of the consumer groups join, leave, die and stand still: what is committed has been processed, always."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from devservices import Stack
from messaging.prove.kafka_log import committed_offsets
from messaging.registry import Subscription, subscriptions
from tests.faults.load import Load
from tests.faults.proof import assert_nothing_lost, patiently
from tests.faults.scene import Scene
from tests.flow_tools import wait_until

pytestmark = pytest.mark.faults

# A member that was killed is missed after this time: session.timeout.ms, which in KIP-848 the brokers decide.
SESSION_SECONDS = {"classic": 6, "consumer": 45}
# A change each two seconds: enough that a choice by chance makes each kind of it.
STORM_SECONDS = 60
SETTINGS = {"classic": "tests.settings", "consumer": "tests.faults.group_protocol_consumer"}


@pytest.fixture(scope="module", params=["classic", "consumer"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def running(servers: Stack, protocol: str) -> Iterator[Scene]:
    # Their logs tell whether partitions changed hands.
    with Scene(servers, env={"DJANGO_SETTINGS_MODULE": SETTINGS[protocol], "LOG_LEVEL": "INFO"}) as scene:
        yield scene


class Watch:
    """A thread that compares, again and again, what the groups committed with what the database has."""

    def __init__(self) -> None:
        self.looks = 0
        self.ahead: list[object] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            patiently(self._look)()
        connection.close()

    def _look(self) -> bool:
        for subscription in subscriptions():
            # The offsets first: the database can only be further than they are.
            for (topic, partition), next_offset in committed_offsets(subscription).items():
                self.ahead += committed_and_not_processed(subscription, topic, partition, next_offset)
        self.looks += 1
        return True


def committed_and_not_processed(
    subscription: Subscription, topic: str, partition: int, next_offset: int
) -> list[object]:
    """The records below the committed offset that this consumer's inbox does not hold."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT m.message_id, r.partition, r."offset"
            FROM outbox_receipt r JOIN outbox_message m ON m.id = r.outbox_id
            WHERE m.topic = %s AND r.partition = %s AND r."offset" < %s
              AND NOT EXISTS (SELECT FROM processed_message p
                              WHERE p.message_id = m.message_id AND p.consumer = %s)
            """,
            [topic, partition, next_offset, subscription.consumer],
        )
        rows: list[object] = cursor.fetchall()
        return rows


def written(scene: Scene) -> dict[Path, str]:
    """What the logs of the members hold that a storm may bring: the stack keeps them from test to test."""
    return {log: log.read_text() for log in scene.system.stack.folder.glob("logs/consume-*-*.log")}


class TestAMembershipStorm:
    def test_never_commits_what_was_not_processed_and_loses_nothing(self, scene: Scene, protocol: str) -> None:
        before = written(scene)
        with Load() as load, Watch() as watch:
            changes = scene.hold("consumer-storm", seconds=STORM_SECONDS)

        for kind in ("joins", "stop ", "kill -9 ", "kill -STOP "):
            assert any(kind in change for change in changes), (kind, changes)
        said = [text.removeprefix(before.get(log, "")) for log, text in written(scene).items()]
        assert any("partitions revoked" in text for text in said), "no partition changed hands"
        assert watch.looks > 10
        assert watch.ahead == []
        assert_nothing_lost(load, within=60 + SESSION_SECONDS[protocol])

    def test_speaks_the_protocol_that_it_says(self, scene: Scene, protocol: str) -> None:
        admin = scene.system.admin()

        for group in ("inventory", "orders"):
            described = admin.describe_consumer_groups([group])[group].result(timeout=15)
            assert described.type.name.lower() == protocol
            wait_until(lambda d=described: len(d.members) == 1, what=f"{group} has its member", seconds=1)
