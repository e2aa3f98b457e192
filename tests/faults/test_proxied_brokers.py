"""Every line to a broker is spoilt, in every way that a network can: what was acknowledged is there, once."""

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from django.test import override_settings

from devservices import BROKERS, Stack
from devservices.__main__ import VAR
from faults import network
from faults.line import Line
from faults.network import broker_proxies
from faults.proxy import OFFSET_COMMIT_REQUEST, PRODUCE_REQUEST, Proxy
from faults.system import System
from messaging.models import OutboxPending, ProcessedMessage
from messaging.produce.relay import Relay
from messaging.produce.shards import SHARDS
from messaging.registry import topics
from messaging.store import kafka
from messaging.store.kafka import SILENCE_TIMEOUT_MS, admin_client
from messaging.store.topics import create, missing
from orders.models import ApiClient, Order
from orders.services import cancel_order
from tests.factories import ApiClientFactory, LineFactory, place
from tests.faults.load import PLENTY, Load
from tests.faults.proof import assert_no_attempt_spent, assert_nothing_lost
from tests.faults.scene import FAULT_SECONDS, Scene
from tests.flow_tools import wait_until

pytestmark = pytest.mark.faults

OwnRelay = Callable[[], AbstractContextManager[Relay]]

TOPIC = "orders.events"
# After so long a client gives up a broker that says nothing, and asks again on another connection.
GIVEN_UP_SECONDS = SILENCE_TIMEOUT_MS / 1000 + 2

SPOIL: dict[str, Callable[[Proxy], Line]] = {
    "cut": Proxy.cut,
    "reset": Proxy.reset,
    "late": lambda proxy: proxy.slow(delay=0.3),
    "narrow": lambda proxy: proxy.slow(bytes_per_second=2000),
    "deaf": lambda proxy: proxy.drop(requests=True),
    "dumb": lambda proxy: proxy.drop(answers=True),
}


@pytest.fixture(scope="module")
def proxied(servers: Stack) -> Iterator[Stack]:
    """A cluster of its own, whose brokers send their clients to proxies. This process goes past them."""
    VAR.mkdir(exist_ok=True)
    own = Stack(Path(tempfile.mkdtemp(prefix="ephemeral-", dir=VAR)))
    try:
        own.up(proxied=True)
        with override_settings(KAFKA_BOOTSTRAP_SERVERS=System(own, "").brokers()):
            create(admin_client(), missing(admin_client(), topics()))
            yield own
    finally:
        own.down(remove=True)


@pytest.fixture(scope="module")
def proxies(proxied: Stack) -> Iterator[dict[str, Proxy]]:
    proxies = broker_proxies(proxied)
    yield proxies
    for proxy in proxies.values():
        proxy.close()


@pytest.fixture(scope="module")
def running(proxied: Stack, proxies: dict[str, Proxy]) -> Iterator[Scene]:
    with Scene(proxied, proxies=proxies) as scene:
        yield scene


@pytest.fixture
def scene(running: Scene, proxies: dict[str, Proxy]) -> Iterator[Scene]:
    running.wait_until_it_flows()
    yield running
    for proxy in proxies.values():
        proxy.restore()


class TestALineToABroker:
    @pytest.mark.parametrize("fault", [fault.name for fault in network.FAULTS if fault.proxies == BROKERS])
    def test_spoilt_under_load_loses_nothing(self, scene: Scene, fault: str) -> None:
        with Load() as load:
            load.wait_for(orders=20)
            # For longer than a client waits for a broker that says nothing.
            scene.hold(fault, seconds=GIVEN_UP_SECONDS)
            assert_no_attempt_spent()

        assert_nothing_lost(load)

    @pytest.mark.parametrize("spoilt", SPOIL)
    def test_spoilt_at_each_broker_in_turn_loses_nothing(
        self, scene: Scene, proxies: dict[str, Proxy], spoilt: str
    ) -> None:
        with Load() as load:
            for proxy in proxies.values():
                line = SPOIL[spoilt](proxy)
                wait_until(lambda line=line: line.hits, what="it hurt somebody")
                time.sleep(FAULT_SECONDS)
                proxy.restore()

        assert_nothing_lost(load)


class TestAllLines:
    def test_silent_at_once_settle_nothing_and_all_drains_after(self, scene: Scene, proxies: dict[str, Proxy]) -> None:
        with Load() as load:
            for proxy in proxies.values():
                proxy.drop(requests=True, answers=True)
            wait_until(lambda: OutboxPending.objects.count() > 0, what="messages wait")
            settled = scene.receipts()
            time.sleep(FAULT_SECONDS)
            assert scene.receipts() == settled
            assert_no_attempt_spent()
            for proxy in proxies.values():
                proxy.restore()

        assert_nothing_lost(load)

    @pytest.mark.parametrize("spoilt", ["deaf", "dumb"])
    def test_silent_one_way_for_longer_than_clients_wait_spend_no_attempt(
        self, scene: Scene, proxies: dict[str, Proxy], spoilt: str
    ) -> None:
        with Load() as load:
            lines = [SPOIL[spoilt](proxy) for proxy in proxies.values()]
            wait_until(lambda: all(line.hits for line in lines), what="each hurt somebody")
            wait_until(lambda: OutboxPending.objects.count() > 0, what="messages wait")
            youngest = OutboxPending.objects.latest("pk")
            time.sleep(GIVEN_UP_SECONDS)
            assert OutboxPending.objects.filter(pk=youngest.pk).exists()
            assert_no_attempt_spent()
            for proxy in proxies.values():
                proxy.restore()

        assert_nothing_lost(load)


@pytest.fixture
def own_relay(scene: Scene, proxied: Stack) -> OwnRelay:
    """While it is entered, the relay of this process works, behind the proxies, in place of the scene's."""

    @contextmanager
    def in_place_of_the_scene_s() -> Iterator[Relay]:
        scene.system.stop("relay", orderly=True)
        try:
            with override_settings(KAFKA_BOOTSTRAP_SERVERS=proxied.env()["KAFKA_BOOTSTRAP_SERVERS"]):
                yield Relay()
        finally:
            scene.system.start("relay")

    return in_place_of_the_scene_s


def work(relay: Relay) -> bool:
    """One round over all shards."""
    relay.round(shards=list(range(SHARDS)), wait=0.1)
    return True


def waiting(client: ApiClient) -> int:
    """How many messages about this client's orders wait in the outbox."""
    keys = [str(pk) for pk in Order.objects.filter(client=client).values_list("pk", flat=True)]
    return OutboxPending.objects.filter(message__source="orders", message__partition_key__in=keys).count()


def records(system: System) -> int:
    """How many records were ever written to the log of the orders, asked past the proxies."""
    probe = Consumer({"bootstrap.servers": system.brokers(), "group.id": "probe"})
    partitions = probe.list_topics(TOPIC, timeout=15).topics[TOPIC].partitions
    ends = [probe.get_watermark_offsets(TopicPartition(TOPIC, partition), timeout=15)[1] for partition in partitions]
    probe.close()
    return sum(ends)


class TestAReportThatNeverComes:
    """The brokers have the message, and their answers are lost until the client reports its fate as unknown (R3)."""

    ORDERS = 20

    def test_makes_the_relay_publish_again_and_the_inbox_absorb_it(
        self, own_relay: OwnRelay, proxies: dict[str, Proxy], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kafka, "DELIVERY_TIMEOUT_MS", 2_000)
        customer = ApiClientFactory()
        with own_relay() as relay:
            for _ in range(self.ORDERS):
                place(LineFactory(sku=PLENTY), client=customer)
            for order in Order.objects.filter(client=customer):
                # A second message of each key: it must not overtake the one whose fate is unknown.
                cancel_order(client_id=customer.pk, order_id=order.pk)

            for proxy in proxies.values():
                proxy.cut_after(PRODUCE_REQUEST)
            wait_until(lambda: work(relay) and relay._retrying, what="the fate of some is unknown")
            assert_no_attempt_spent()
            for proxy in proxies.values():
                proxy.restore()
            wait_until(lambda: work(relay) and not waiting(customer), what="all are acknowledged")

        assert_nothing_lost()
        assert ProcessedMessage.objects.filter(redeliveries__gt=0).exists()
        assert Order.objects.filter(client=customer, status=Order.Status.CANCELLED).count() == self.ORDERS


class TestAnAcknowledgementThatNamesNoPlace:
    """Brokers that restarted know of a producer's last batch only. Asked again for one before it, they say that they
    have it, and not where (DUPLICATE_SEQUENCE_NUMBER)."""

    ORDERS = 12
    IN_FLIGHT = 5  # to one broker at once; more than there are partitions, so that one holds two batches

    def test_is_no_receipt_and_the_next_copy_has_one(
        self, scene: Scene, own_relay: OwnRelay, proxies: dict[str, Proxy]
    ) -> None:
        system = scene.system
        customer = ApiClientFactory()
        with own_relay() as relay:
            # Enough for every partition: who has not talked to a broker yet would not get so far.
            for _ in range(self.ORDERS):
                place(LineFactory(sku=PLENTY), client=customer)
            wait_until(lambda: work(relay) and not waiting(customer), what="the relay talks to every broker")
            before = records(system)

            for proxy in proxies.values():
                proxy.drop(answers=True)
            for _ in range(self.ORDERS):
                place(LineFactory(sku=PLENTY), client=customer)
                work(relay)  # each in a batch of its own
            wait_until(lambda: records(system) >= before + self.IN_FLIGHT, what="the log has what is in flight")
            for role in BROKERS:
                system.stack.restart(role)
                system.stack.wait_ready(role)
            for proxy in proxies.values():
                proxy.restore()
            wait_until(lambda: work(relay) and not waiting(customer), what="all are acknowledged")

        assert records(system) > before + self.ORDERS
        assert_nothing_lost()


class TestAnAnswerOfABroker:
    @pytest.mark.parametrize("request_", [PRODUCE_REQUEST, OFFSET_COMMIT_REQUEST], ids=["produce", "offset commit"])
    def test_cut_off_after_it_was_done_loses_nothing(
        self, scene: Scene, proxies: dict[str, Proxy], request_: re.Pattern[bytes]
    ) -> None:
        with Load() as load:
            lines = [proxy.cut_after(request_) for proxy in proxies.values()]
            wait_until(lambda: sum(line.hits for line in lines) >= 5, what="five answers were cut")
            for proxy in proxies.values():
                proxy.restore()

        assert_nothing_lost(load)

    @pytest.mark.parametrize("group", ["inventory", "orders"])
    def test_about_offsets_is_asked_for_again_by_each_consumer(
        self, scene: Scene, proxies: dict[str, Proxy], group: str
    ) -> None:
        # The request names its group behind the client's name.
        of_the_group = re.compile(OFFSET_COMMIT_REQUEST.pattern + b".{0,150}\x00." + group.encode(), re.DOTALL)
        with Load() as load:
            lines = [proxy.cut_after(of_the_group) for proxy in proxies.values()]
            wait_until(lambda: sum(line.hits for line in lines) >= 3, what="three of its answers were cut")
            for proxy in proxies.values():
                proxy.restore()

        assert_nothing_lost(load)
