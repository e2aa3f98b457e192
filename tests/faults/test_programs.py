"""The application's own processes are killed and stand still under load: each comes back, and nothing is lost."""

from collections.abc import Iterator

import pytest

from devservices import Stack
from faults import programs
from tests.faults.load import Load
from tests.faults.proof import assert_no_attempt_spent, assert_nothing_lost
from tests.faults.scene import FLOW_UNDER_CELERY, Scene

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def running(servers: Stack) -> Iterator[Scene]:
    with Scene(servers, FLOW_UNDER_CELERY) as scene:
        yield scene


class TestTheProcesses:
    @pytest.mark.parametrize("fault", [fault.name for fault in programs.FAULTS])
    def test_that_are_hurt_again_and_again_cost_nothing(self, scene: Scene, fault: str) -> None:
        with Load() as load:
            for _ in range(4):
                load.wait_for(orders=20)
                # Longer than a lease of the relay and a session of a consumer.
                scene.hold(fault, seconds=8)
            assert_no_attempt_spent()

        assert_nothing_lost(load)
