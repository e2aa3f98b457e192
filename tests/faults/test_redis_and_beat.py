"""What wakes the relay up may fail in any way: it carries no data, so nothing is lost and little is late."""

from collections.abc import Iterator

import pytest

from devservices import Stack
from tests.faults.load import Load
from tests.faults.proof import assert_no_attempt_spent, assert_nothing_lost
from tests.faults.scene import FAULT_SECONDS, FLOW_UNDER_CELERY, OUTAGE_SECONDS, Scene

pytestmark = pytest.mark.faults

# Many ticks of the relay, and one of the audit.
BEAT_SECONDS = 20.0
# Every client of Redis is thrown out once a second.
CLIENTS_SECONDS = 15.0


@pytest.fixture(scope="module")
def running(servers: Stack) -> Iterator[Scene]:
    # Short shifts, so that many are begun while the fault is on.
    env = {"RELAY_SHIFT_SECONDS": "1"}
    with Scene(servers, FLOW_UNDER_CELERY, env=env) as scene:
        yield scene


class TestRedis:
    @pytest.mark.parametrize(
        ("fault", "seconds"),
        [
            ("redis-flush", 0),
            ("redis-kill", 0),
            ("redis-kill-clients", CLIENTS_SECONDS),
            ("redis-pause", FAULT_SECONDS),
            ("redis-down", OUTAGE_SECONDS),
        ],
    )
    def test_in_trouble_delays_and_loses_nothing(self, scene: Scene, fault: str, seconds: float) -> None:
        with Load() as load:
            load.wait_for(orders=20)
            scene.hold(fault, seconds=seconds)
            assert_no_attempt_spent()
            load.wait_for(orders=20)

        assert_nothing_lost(load)


class TestBeat:
    @pytest.mark.parametrize("fault", ["beat-twice", "beat-stop", "beat-pause"])
    def test_doubled_or_silent_changes_nothing(self, scene: Scene, fault: str) -> None:
        with Load() as load:
            scene.hold(fault, seconds=BEAT_SECONDS)

        assert_nothing_lost(load)

    def test_that_was_silent_while_the_worker_died_wakes_the_next_one(self, scene: Scene) -> None:
        with Load() as load, scene.hurt("beat-stop"):
            # The shift that would have called the next one ends with it.
            scene.system.kill("worker")
            scene.inject("redis-flush")
            scene.hold("redis-flush")

        assert_nothing_lost(load)
