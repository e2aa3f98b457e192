"""Brokers that die, stand still and come back, under load: no acknowledged order is lost, none is applied twice."""

import time
from collections.abc import Iterator

import pytest

from devservices import Stack
from faults.brokers import active_controller
from messaging.models import OutboxPending
from tests.faults.load import Load
from tests.faults.proof import assert_no_attempt_spent, assert_nothing_lost
from tests.faults.scene import OUTAGE_SECONDS, Scene
from tests.flow_tools import wait_until

pytestmark = pytest.mark.faults

TOPIC = "orders.events"


@pytest.fixture(scope="module")
def running(servers: Stack) -> Iterator[Scene]:
    with Scene(servers) as scene:
        yield scene


@pytest.fixture
def scene(running: Scene) -> Scene:
    running.wait_until_it_flows()
    return running


def leader_now(scene: Scene) -> str:
    wait_until(lambda: scene.system.leader(TOPIC, 0), what="the partition has a leader")
    return str(scene.system.leader(TOPIC, 0))


class TestALeaderThatIsKilled:
    def test_again_and_again_under_load_costs_nothing(self, scene: Scene) -> None:
        with Load() as load:
            for _ in range(5):
                leader = leader_now(scene)
                scene.system.kill(leader)
                wait_until(lambda old=leader: scene.system.leader(TOPIC, 0) != old, what="its death was noticed")

        assert_nothing_lost(load.accepted)


class TestABrokerThatStandsStill:
    def test_as_leader_is_replaced_and_finds_out_when_it_wakes_up(self, scene: Scene) -> None:
        with Load() as load:
            leader = leader_now(scene)
            scene.system.pause(leader)
            wait_until(lambda: scene.system.leader(TOPIC, 0) not in (None, leader), what="another broker leads")
            before = scene.receipts()
            wait_until(lambda: scene.receipts() > before, what="messages are acknowledged without it")
            scene.system.resume(leader)

        assert_nothing_lost(load.accepted)

    def test_as_follower_holds_up_no_more_than_it_must(self, scene: Scene) -> None:
        with Load() as load, scene.hurt("kafka-pause-follower"):
            # Longer than replica.lag.time.max.ms: it falls out of sync, and has to catch up.
            time.sleep(OUTAGE_SECONDS)
            assert_no_attempt_spent()

        assert_nothing_lost(load.accepted)

    def test_as_active_controller_is_replaced_and_no_message_waits_for_it_long(self, scene: Scene) -> None:
        with Load() as load, scene.hurt("kafka-pause-controller") as told:
            paused = told.split()[2].rstrip(",")
            wait_until(lambda: active_controller(scene.system) != paused, what="another controller is active")

        assert_nothing_lost(load.accepted)


class TestTooFewInSyncReplicas:
    def test_settle_nothing_while_orders_are_accepted_and_all_drains_after(self, scene: Scene) -> None:
        with Load() as load, scene.hurt("kafka-two-down"):
            # What was on its way when the brokers died may still have been acknowledged by all three.
            wait_until(lambda: OutboxPending.objects.count() > 0, what="messages wait")
            time.sleep(1)
            settled, accepted = scene.receipts(), len(load.accepted)
            time.sleep(OUTAGE_SECONDS)
            assert scene.receipts() == settled
            assert len(load.accepted) > accepted
            assert_no_attempt_spent()

        assert_nothing_lost(load.accepted)


class TestAllBrokers:
    def test_killed_at_once_keep_what_they_acknowledged(self, scene: Scene) -> None:
        with Load() as load:
            wait_until(lambda: len(load.accepted) > 20, what="orders are on their way")
            scene.inject("kafka-kill-all")
            accepted = len(load.accepted)
            wait_until(lambda: len(load.accepted) > accepted, what="orders are accepted without any broker")
            before = scene.receipts()
            wait_until(lambda: scene.receipts() > before, what="the cluster is back")

        assert_nothing_lost(load.accepted)
