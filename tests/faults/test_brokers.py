"""Brokers that die, stand still and come back, under load: no acknowledged order is lost, none is applied twice."""

import json
import time
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from confluent_kafka import KafkaError, Producer

from devservices import Stack
from faults import brokers
from faults.brokers import MIN_ISR_UNMET, active_controller
from faults.kafka_admin import in_sync
from faults.system import NOTHING_HURT
from messaging.models import OutboxPending
from tests.api_tools import Caller, Server, headers, length
from tests.faults.load import PLENTY, Load
from tests.faults.proof import assert_no_attempt_spent, assert_nothing_lost, patiently
from tests.faults.scene import OUTAGE_SECONDS, Scene
from tests.flow_tools import wait_until
from tests.process_tools import Processes

pytestmark = pytest.mark.faults

TOPIC = "orders.events"


@pytest.fixture(scope="module")
def running(servers: Stack) -> Iterator[Scene]:
    with Scene(servers) as scene:
        yield scene


@pytest.fixture
def server(running: Scene) -> Iterator[Server]:
    processes = Processes()
    yield Server(processes)
    processes.end()


def leader_now(scene: Scene) -> str:
    wait_until(lambda: scene.system.leader(TOPIC, 0), what="the partition has a leader")
    return str(scene.system.leader(TOPIC, 0))


class TestALeaderThatIsKilled:
    def test_again_and_again_under_load_costs_nothing(self, scene: Scene) -> None:
        with Load() as load:
            for _ in range(5):
                # With the others out of sync nobody could lead in its place.
                scene.wait_until_in_sync()
                leader = leader_now(scene)
                told = scene.system.kill(leader)
                assert NOTHING_HURT not in told, told
                wait_until(
                    lambda old=leader: scene.system.leader(TOPIC, 0) not in (None, old), what="another broker leads"
                )

        assert_nothing_lost(load)


class TestABrokerThatStandsStill:
    def test_as_leader_is_replaced_and_finds_out_when_it_wakes_up(self, scene: Scene) -> None:
        with Load() as load:
            leader = leader_now(scene)
            scene.system.pause(leader)
            wait_until(lambda: scene.system.leader(TOPIC, 0) not in (None, leader), what="another broker leads")
            before = scene.receipts()
            wait_until(lambda: scene.receipts() > before, what="messages are acknowledged without it")
            scene.system.resume(leader)

        assert_nothing_lost(load)

    def test_as_follower_holds_up_no_more_than_it_must(self, scene: Scene) -> None:
        with Load() as load, scene.hurt("kafka-pause-follower"):
            # Longer than replica.lag.time.max.ms: it falls out of sync, and has to catch up.
            time.sleep(OUTAGE_SECONDS)
            before = scene.receipts()
            wait_until(lambda: scene.receipts() > before, what="messages are acknowledged without it")
            assert_no_attempt_spent()

        assert_nothing_lost(load)

    def test_as_active_controller_is_replaced_and_no_message_waits_for_it_long(self, scene: Scene) -> None:
        with Load() as load, scene.hurt("kafka-pause-controller") as told:
            paused = told.split()[2].rstrip(",")
            wait_until(lambda: active_controller(scene.system) != paused, what="another controller is active")
            before = scene.receipts()
            wait_until(lambda: scene.receipts() > before, what="messages are acknowledged without it")

        assert_nothing_lost(load)


class TestTooFewInSyncReplicas:
    def test_settle_nothing_while_the_api_accepts_orders_and_all_drains_after(
        self, scene: Scene, server: Server
    ) -> None:
        caller = Caller()
        with Load() as load, scene.hurt("kafka-two-down"):
            # What was on its way when the brokers died may still have been acknowledged by all three.
            wait_until(lambda: OutboxPending.objects.count() > 0, what="messages wait")
            order_each_second(server, caller, seconds=1)
            settled = scene.receipts()
            accepted = order_each_second(server, caller, seconds=OUTAGE_SECONDS)
            assert scene.receipts() == settled
            assert_no_attempt_spent()

        assert_nothing_lost(load, accepted=accepted)

    def test_are_what_the_leader_refuses_for(self, scene: Scene, server: Server) -> None:
        caller = Caller()
        with Load() as load, scene.hurt(MIN_ISR_UNMET):
            two = patiently(lambda: len(in_sync(scene.system.admin(), TOPIC)) == 2)
            wait_until(two, what="the killed one is out of sync", seconds=30)
            settled = scene.receipts()
            assert refusal(scene) == KafkaError.NOT_ENOUGH_REPLICAS
            accepted = order_each_second(server, caller, seconds=OUTAGE_SECONDS)
            assert scene.receipts() == settled
            assert_no_attempt_spent()

        assert_nothing_lost(load, accepted=accepted)


def refusal(scene: Scene) -> int:
    """Why the leader of a partition refuses a record that is written once. One that it took would be a dead letter."""
    answers: list[KafkaError | None] = []
    once = {"bootstrap.servers": scene.system.brokers(), "acks": "all", "retries": 0, "log_level": 0}
    producer = Producer(once)
    producer.produce(TOPIC, b"not ours", partition=0, on_delivery=lambda error, _: answers.append(error))
    producer.flush(30)
    producer.close()
    (error,) = answers
    assert error
    return error.code()


def order_each_second(server: Server, caller: Caller, *, seconds: float) -> list[UUID]:
    """POST an order each second, and get 201 each time. Their ids."""
    body = json.dumps({"lines": [{"sku": PLENTY, "quantity": 1}]}).encode()
    accepted, ends_at = [], time.monotonic() + seconds
    while time.monotonic() < ends_at:
        good = headers(caller, length(body), key=uuid4().hex)
        status, _, answer = server.ask("POST", "/api/orders", *good, body=body)
        assert status == 201, answer
        accepted.append(UUID(json.loads(answer)["id"]))
        time.sleep(1)
    return accepted


class TestEveryFaultOfBrokers:
    @pytest.mark.parametrize("fault", [fault.name for fault in brokers.FAULTS])
    def test_held_for_a_while_under_load_costs_nothing(self, scene: Scene, fault: str) -> None:
        with Load() as load:
            load.wait_for(orders=20)
            # Longer than from one leader that is killed to the next.
            scene.hold(fault, seconds=12)
            assert_no_attempt_spent()

        assert_nothing_lost(load)


class TestAllBrokers:
    def test_killed_at_once_keep_what_they_acknowledged(self, scene: Scene) -> None:
        with Load() as load:
            load.wait_for(orders=20)
            scene.inject("kafka-kill-all")
            load.wait_for(orders=1)  # without any broker
            before = scene.receipts()
            wait_until(lambda: scene.receipts() > before, what="the cluster is back")

        assert_nothing_lost(load)
