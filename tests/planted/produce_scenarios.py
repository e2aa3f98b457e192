"""What happens to a message on its way to Kafka."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

from django.db import connection, connections
from django.db.backends.postgresql.base import DatabaseWrapper

from devservices import BROKERS
from messaging.models import OutboxMessage
from messaging.produce import outbox, publisher
from messaging.produce.publisher import Publisher
from messaging.produce.queue import PendingMessage
from messaging.produce.relay import Relay
from orders.models import ApiClient, Order
from orders.services import cancel_order
from tests.consume.messages import TOPIC
from tests.factories import ApiClientFactory, LineFactory, place
from tests.flow_tools import partition_of, wait_until
from tests.planted.stage import ALL_SHARDS, Died, Expected, Stage, a_child, consume, drain, rounds

FETCH_WAIT_SECONDS = 0.5  # replica.fetch.wait.max.ms


def relay_dies_while_kafka_is_away(stage: Stage) -> Expected:
    """The relay dies while Kafka is away."""
    place(LineFactory(sku="SKU-A"))
    with _away(stage):
        relay = Relay()
        relay.round(shards=ALL_SHARDS, wait=0.2)
        relay._abandon()
    drain(stage)
    return Expected()


def kafka_is_away_for_longer_than_the_client_tries(stage: Stage) -> Expected:
    """Kafka is away for longer than the client tries."""
    place(LineFactory(sku="SKU-A"))
    planted = publisher.producer_settings
    stage.patch.setattr(publisher, "producer_settings", lambda: planted() | {"delivery.timeout.ms": 500})
    with _away(stage):
        relay = Relay()
        wait_until(lambda: (relay.round(shards=ALL_SHARDS, wait=0.2), relay._retrying)[1], what="it timed out")
        relay._abandon()
    drain(stage)
    return Expected()


def a_slow_transaction(stage: Stage) -> Expected:
    """A transaction is slow: its older id becomes visible after a younger one was published."""
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
    drain(stage)
    return Expected()


def a_relay_stalls_before_it_publishes_and_another_goes_on(stage: Stage) -> Expected:
    """A relay stalls before it publishes, another one takes over, and the order is cancelled."""
    place(LineFactory(sku="SKU-A"))
    order = Order.objects.get()
    publish, stalled = Publisher.publish, []

    def stall_once(self: Publisher, message: PendingMessage) -> None:
        if not stalled:
            stalled.append(message)
            cancel_order(client_id=order.client_id, order_id=order.pk)
            rounds(Relay(), seconds=2)
            consume(stage.flow, "inventory", at_least=1)
        publish(self, message)

    stage.patch.setattr(Publisher, "publish", stall_once)
    # Longer than it stalls, so that it publishes and settles in the end.
    rounds(Relay(), seconds=10)
    drain(stage)
    return Expected()


def the_worker_forks(stage: Stage) -> Expected:
    """The relay is made in a parent and works in its children."""
    place(LineFactory(sku="SKU-A"))
    relay = Relay()
    for name in ("inventory", "orders"):
        with a_child(lambda: rounds(relay, seconds=3)):
            pass
        deadline = time.monotonic() + stage.patience
        while not consume(stage.flow, name) and time.monotonic() < deadline:
            pass
    return Expected()


def the_process_dies_right_after_commit(stage: Stage) -> Expected:
    """The process dies right after COMMIT."""
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
    drain(stage)
    return Expected()


def the_leader_dies_before_its_followers_have_copied(stage: Stage) -> Expected:
    """The leader dies before its followers have copied."""
    place(LineFactory(sku="SKU-A"))
    system, partition = stage.system, partition_of(OutboxMessage.objects.get().partition_key)
    leader = str(system.leader(TOPIC, partition))
    followers = [role for role in BROKERS if role != leader]
    relay = Relay()
    relay._publisher = Publisher()
    relay._publisher._producer.list_topics(timeout=10)
    for role in followers:
        system.pause(role)
    # A fetch that was under way when they were paused would still bring them the record: let it run out.
    time.sleep(2 * FETCH_WAIT_SECONDS)
    rounds(relay, seconds=2)
    system.stop(leader)
    relay._abandon()
    for role in followers:
        system.resume(role)
    for role in followers:
        system.stack.wait_ready(role)
    wait_until(lambda: system.leader(TOPIC, partition) in followers, what="a follower leads")
    system.start(leader)
    system.stack.wait_ready(leader)
    drain(stage)
    return Expected()


@contextlib.contextmanager
def _away(stage: Stage) -> Iterator[None]:
    """Nobody answers at Kafka's address."""
    here = stage.settings.KAFKA_BOOTSTRAP_SERVERS
    stage.settings.KAFKA_BOOTSTRAP_SERVERS = "127.0.0.1:1"
    yield
    stage.settings.KAFKA_BOOTSTRAP_SERVERS = here
