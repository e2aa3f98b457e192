"""Small stories in which a bug bites, if there is one. On the product as it is, each ends with everything in order."""

import contextlib
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from django.db import connection, connections
from django.db.backends.postgresql.base import DatabaseWrapper

import inventory.reservations
from devservices import BROKERS, Stack
from faults import losses
from faults.system import System
from messaging.consume import consumer
from messaging.models import OutboxMessage
from messaging.produce import outbox, publisher, queue
from messaging.produce.publisher import Publisher
from messaging.produce.queue import PendingMessage
from messaging.produce.relay import Relay
from messaging.produce.shards import SHARDS, murmur2
from messaging.prove import repair, retention
from messaging.prove.audit import audit
from messaging.registry import subscription, topics
from messaging.store.kafka import admin_client
from orders.models import ApiClient, Order
from orders.services import cancel_order
from tests.consume.messages import TOPIC, placed
from tests.factories import ApiClientFactory, LineFactory, place
from tests.faults.drained import nothing_travels, nothing_unread
from tests.flow_tools import (
    Flow,
    envelope_of,
    produce_envelope,
    produce_raw,
    skip_what_the_log_holds,
    wait_until,
)
from tests.process_tools import environment
from tests.prove.test_retention import grow_older

PARTITIONS = {topic.name: topic.partitions for topic in topics()}[TOPIC]
ALL_SHARDS = list(range(SHARDS))
FETCH_WAIT_SECONDS = 0.5  # replica.fetch.wait.max.ms
QUIET_ROUNDS = 3  # in which nothing came, although there was something to come


@dataclass(frozen=True, slots=True)
class Stage:
    """What a scenario plays on. `patch` is undone when it ends."""

    flow: Flow
    patch: pytest.MonkeyPatch
    stack: Stack | None
    settings: Any


@dataclass(frozen=True, slots=True)
class Expected:
    """What the checker must be told."""

    dead_letters: int = 0
    kafka_may_lose: bool = False


class Died(BaseException):
    """The process died here: nothing catches it."""


Scenario = Callable[[Stage], Expected]
SCENARIOS: dict[str, Scenario] = {}


def scenario(play: Scenario) -> Scenario:
    SCENARIOS[play.__name__.replace("__", ", ").replace("_", " ")] = play
    return play


@scenario
def orders_flow(stage: Stage) -> Expected:
    place(LineFactory(sku="SKU-A"))
    place(LineFactory(sku="SKU-A"))
    drain(stage.flow)
    return Expected()


@scenario
def relay_dies_while_Kafka_is_away(stage: Stage) -> Expected:  # noqa: N802 - the name of the scenario
    place(LineFactory(sku="SKU-A"))
    with away(stage):
        relay = Relay()
        relay.round(shards=ALL_SHARDS, wait=0.2)
        relay._abandon()
    drain(stage.flow)
    return Expected()


@scenario
def Kafka_is_away_for_longer_than_the_client_tries(stage: Stage) -> Expected:  # noqa: N802
    place(LineFactory(sku="SKU-A"))
    planted = publisher.producer_settings
    stage.patch.setattr(publisher, "producer_settings", lambda: planted() | {"delivery.timeout.ms": 500})
    with away(stage):
        relay = Relay()
        wait_until(lambda: (relay.round(shards=ALL_SHARDS, wait=0.2), relay._retrying)[1], what="it timed out")
        relay._abandon()
    drain(stage.flow)
    return Expected()


@scenario
def a_slow_transaction(stage: Stage) -> Expected:
    """The older id becomes visible after the younger one was published."""
    drawn, go = threading.Event(), threading.Event()
    append, client = outbox.append, ApiClientFactory()
    me = threading.local()

    def slowly(*arguments: Any, **named: Any) -> Any:
        answer = append(*arguments, **named)
        if getattr(me, "slow", False):
            drawn.set()
            go.wait(30)
        return answer

    def slow_order() -> None:
        me.slow = True
        place(LineFactory(sku="SKU-A"), client=client)
        connections.close_all()

    stage.patch.setattr(outbox, "append", slowly)
    thread = threading.Thread(target=slow_order)
    thread.start()
    drawn.wait(30)
    place(LineFactory(sku="SKU-A"), client=client)
    stage.flow.relay_all()
    go.set()
    thread.join()
    drain(stage.flow)
    return Expected()


@scenario
def a_relay_stalls_before_it_publishes__and_another_goes_on(stage: Stage) -> Expected:
    """Its lease has passed meanwhile, and the order is cancelled."""
    place(LineFactory(sku="SKU-A"))
    order = Order.objects.get()
    publish, stalled = Publisher.publish, []

    def stall_once(self: Publisher, message: PendingMessage) -> None:
        if not stalled:
            stalled.append(message)
            cancel_order(client_id=order.client_id, order_id=order.pk)
            _rounds(Relay(), seconds=2)
            _consume(stage.flow, "inventory")
        publish(self, message)

    stage.patch.setattr(Publisher, "publish", stall_once)
    _rounds(Relay(), seconds=2)
    drain(stage.flow)
    return Expected()


@scenario
def the_worker_forks(stage: Stage) -> Expected:
    """The relay is made in the parent, and works only in its children."""
    place(LineFactory(sku="SKU-A"))
    relay = Relay()
    for name in ("inventory", "orders"):
        _rounds_in_a_child(relay)
        _consume(stage.flow, name)
    return Expected()


@scenario
def the_process_dies_right_after_COMMIT(stage: Stage) -> Expected:  # noqa: N802
    commit, dead = DatabaseWrapper._commit, []
    client: ApiClient = ApiClientFactory()

    def and_die(self: DatabaseWrapper) -> None:
        commit(self)
        if not dead:
            dead.append(1)
            raise Died

    stage.patch.setattr(DatabaseWrapper, "_commit", and_die)
    with contextlib.suppress(Died):
        place(LineFactory(sku="SKU-A"), client=client)
    connection.close()
    drain(stage.flow)
    return Expected()


@scenario
def the_leader_dies_before_its_followers_have_copied(stage: Stage) -> Expected:
    place(LineFactory(sku="SKU-A"))
    system, partition = broken(stage), _partition_of(OutboxMessage.objects.get())
    leader = str(system.leader(TOPIC, partition))
    followers = [role for role in BROKERS if role != leader]
    relay = Relay()
    relay._publisher = Publisher()
    relay._publisher._producer.list_topics(timeout=10)
    for role in followers:
        system.pause(role)
    # A fetch that was under way when they were paused would still bring them the record: let it run out.
    time.sleep(2 * FETCH_WAIT_SECONDS)
    _rounds(relay, seconds=2)
    system.stop(leader)
    relay._abandon()
    for role in followers:
        system.resume(role)
    for role in followers:
        system.stack.wait_ready(role)
    wait_until(lambda: system.leader(TOPIC, partition) in followers, what="a follower leads")
    system.start(leader)
    system.stack.wait_ready(leader)
    drain(stage.flow)
    return Expected()


@scenario
def a_consumer_dies_in_a_batch(stage: Stage) -> Expected:
    reserve, died = inventory.reservations.reserve, []

    def die_once(*arguments: Any) -> Any:
        if not died:
            died.append(1)
            raise Died
        return reserve(*arguments)

    stage.patch.setattr(inventory.reservations, "reserve", die_once)
    place(LineFactory(sku="SKU-A"))
    stage.flow.relay_all()
    with contextlib.suppress(Died):
        stage.flow.consume_all("inventory")
    connection.close()
    stage.flow.close()
    drain(stage.flow)
    return Expected()


@scenario
def a_message_is_delivered_twice(stage: Stage) -> Expected:
    place(LineFactory(sku="SKU-A"))
    drain(stage.flow)
    produce_envelope(TOPIC, envelope_of(OutboxMessage.objects.earliest("id").message_id))
    drain(stage.flow)
    return Expected()


@scenario
def a_message_of_a_version_to_come(stage: Stage) -> Expected:
    produce_envelope(TOPIC, placed(message_type="orders.order_placed.v999"))
    drain(stage.flow)
    return Expected(dead_letters=1)


@scenario
def a_record_with_a_NUL_byte(stage: Stage) -> Expected:  # noqa: N802
    produce_raw(TOPIC, key=b"k", value=b'{"name": "\x00"}', headers=[("ce_id", str(uuid.uuid4()))])
    drain(stage.flow)
    return Expected(dead_letters=1)


@scenario
def an_unclean_leader_election(stage: Stage) -> Expected:
    def orders() -> None:
        for _ in range(6):
            place(LineFactory(sku="SKU-A"))
        stage.flow.relay_all()

    losses.elect_uncleanly(broken(stage), TOPIC, between=orders)
    drain(stage.flow)
    repair.repair(audit().losses)
    drain(stage.flow)
    return Expected(kafka_may_lose=True)


@scenario
def a_message_that_was_put_back_turns_up_after_all(stage: Stage) -> Expected:
    place(LineFactory(sku="SKU-A"))
    stage.flow.relay_all()
    late = envelope_of(OutboxMessage.objects.get().message_id)
    skip_what_the_log_holds()
    repair.repair(audit().losses)
    drain(stage.flow)
    produce_envelope(TOPIC, late)
    drain(stage.flow)
    return Expected()


@scenario
def a_consumer_is_down_for_longer_than_the_retention(stage: Stage) -> Expected:
    place(LineFactory(sku="SKU-A"))
    stage.flow.relay_all()
    audit(new_only=True)
    audit(new_only=True)
    grow_older(100)
    retention.prune()
    admin = admin_client()
    ends = [TopicPartition(TOPIC, part, end) for part, end in losses._ends(admin, TOPIC).items() if end]
    for future in admin.delete_records(ends).values():
        future.result(30)
    repair.repair(audit().losses)
    drain(stage.flow)
    return Expected(kafka_may_lose=True)


def drain(flow: Flow) -> None:
    """Let everything flow, as far as it can: a planted bug may keep it from its end."""
    quiet = 0
    while quiet < QUIET_ROUNDS:
        quiet += 1
        for name in ("inventory", "orders"):
            # A message of unknown fate is tried again after a second.
            _rounds(flow.relay, seconds=0.6 + bool(flow.relay._retrying))
            if _consume(flow, name):
                quiet = 0
        if nothing_travels() and nothing_unread():
            return


def _rounds(relay: Relay, *, seconds: float) -> None:
    """Let a relay publish and settle until nothing is left to do, or so long."""
    deadline = time.monotonic() + seconds
    while (queue.backlog() or relay._flying) and time.monotonic() < deadline:
        relay.round(shards=ALL_SHARDS, wait=0.1)


def _consume(flow: Flow, name: str) -> int:
    """Run batches until none comes; how many records there were."""
    declared, reader, count = subscription(name), flow.reader(name), 0
    deadline = time.monotonic() + 30
    # A new member must first be given its partitions.
    while (read := consumer.run_once(declared, reader)) or not reader._consumer.assignment():
        count += read
        assert time.monotonic() < deadline, f"{name} is no member of its group"
    return count


@contextlib.contextmanager
def away(stage: Stage) -> Iterator[None]:
    """Nobody answers at Kafka's address."""
    here = stage.settings.KAFKA_BOOTSTRAP_SERVERS
    stage.settings.KAFKA_BOOTSTRAP_SERVERS = "127.0.0.1:1"
    yield
    stage.settings.KAFKA_BOOTSTRAP_SERVERS = here


def broken(stage: Stage) -> System:
    """The servers, to break them."""
    assert stage.stack
    return System(stage.stack, environment()["DATABASE_URL"])


def _rounds_in_a_child(relay: Relay) -> None:
    connections.close_all()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            _rounds(relay, seconds=5)
        os._exit(0)
    too_long = threading.Timer(20, lambda: _kill(child))
    too_long.start()
    os.waitpid(child, 0)
    too_long.cancel()


def _kill(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def all_in_sync(system: System) -> bool:
    """Whether each partition has its three replicas, so that any of them may lead."""
    topics_there = system.admin().list_topics(timeout=10).topics
    return all(
        len(part.isrs) == len(BROKERS) for topic in losses.TOPICS for part in topics_there[topic].partitions.values()
    )


def _partition_of(message: OutboxMessage) -> int:
    return murmur2(message.partition_key.encode()) % PARTITIONS
