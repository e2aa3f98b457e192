"""What Kafka itself loses: the audit finds it, repair publishes it again, each effect happens once."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from structlog.testing import capture_logs

from devservices import BROKERS, Stack
from faults import losses, offsets
from faults.kafka_admin import all_in_sync, in_sync
from faults.system import System
from inventory.models import StockItem
from messaging.models import DeadLetter, OutboxMessage, OutboxReceipt, ProcessedMessage, RepairedMessage
from messaging.produce.relay import Relay
from messaging.prove.audit import audit
from messaging.prove.repair import repair
from messaging.registry import topics
from messaging.store.kafka import admin_client
from messaging.store.topics import create, missing
from orders.models import Order
from orders.services import cancel_order
from tests.factories import LineFactory, StockItemFactory, place
from tests.faults.drained import check_now
from tests.faults.proof import patiently
from tests.flow_tools import Flow, skip_what_the_log_holds, wait_until
from tests.process_tools import environment

pytestmark = pytest.mark.faults

ORDERS = 12
TOPIC, REPLIES = "orders.events", "inventory.events"


@pytest.fixture
def system(stack: Stack) -> Iterator[System]:
    yield System(stack, environment()["DATABASE_URL"])
    for role in BROKERS:
        stack.start(role)
    for role in BROKERS:
        stack.wait_ready(role)
    create(admin_client(), missing(admin_client(), topics()))


@pytest.fixture
def flow(system: System, flow: Flow) -> Flow:
    # Some of these tests read from the start of the log, and a broker that lost power may have forgotten what was
    # deleted there: nothing of other tests may ever have stood in it.
    for declared in topics():
        losses.make_again(system, declared.name)
    skip_what_the_log_holds()
    StockItemFactory(sku="SKU-A", initial=1000)
    return flow


def place_orders(flow: Flow) -> None:
    for _ in range(ORDERS):
        place(LineFactory(sku="SKU-A"))
    flow.relay_all()


def heal(flow: Flow) -> None:
    """Audit, repair, let it flow, until nothing is missing: what is not noticed at first is noticed later."""
    for _ in range(10):
        flow.settle_everything()
        found = audit(new_only=True).losses
        if not found and not audit().domain["accepted"] - audit().domain["final"]:
            return
        repair(found)
    raise AssertionError(f"not healed: {audit().as_json()}")


def assert_all_is_there_once() -> None:
    """Every effect, once; and every record at the place that its receipt names, what was put back at its new one."""
    verdict = check_now(groups_at_the_end=True)
    assert not verdict.violations, verdict.histories
    assert StockItem.objects.get().on_hand == 1000 - ORDERS


def leads_nothing(system: System, role: str) -> bool:
    leaders = system.leaders(TOPIC)
    return len(leaders) == 3 and role not in leaders.values()


class TestRecordsThatAreGone:
    @pytest.mark.parametrize(
        "lose",
        [
            partial(losses.cut_tails, roles=BROKERS, bytes_each=1_000_000),
            partial(losses.make_again, topic=TOPIC),
            partial(losses.delete_records, topic=TOPIC),
            partial(losses.expire, topic=TOPIC),
        ],
        ids=["tail-cut-on-all-three", "topic-made-again", "records-deleted", "retention-passed"],
    )
    def test_are_found_and_put_back(self, flow: Flow, system: System, lose: Callable[[System], str]) -> None:
        place_orders(flow)

        lose(system)
        for role in BROKERS:
            system.stack.wait_ready(role)
        found = audit().losses
        heal(flow)

        assert found
        assert RepairedMessage.objects.count() >= len(found)
        assert_all_is_there_once()

    @pytest.mark.parametrize("lose", [losses.make_again, losses.delete_records], ids=["topic-made-again", "deleted"])
    def test_of_replies_are_found_and_put_back(
        self, flow: Flow, system: System, lose: Callable[[System, str], str]
    ) -> None:
        place_orders(flow)
        flow.consume_all("inventory")
        flow.relay_all()

        lose(system, REPLIES)
        found = audit().losses
        heal(flow)

        assert len(found) == ORDERS
        assert_all_is_there_once()

    @pytest.mark.parametrize(
        "lose",
        [
            partial(losses.cut_tails, roles=BROKERS[:1], bytes_each=1_000_000),
            partial(losses.lose_folders, role=BROKERS[0], topic=TOPIC),
        ],
        ids=["tail-cut", "disk-empty"],
    )
    def test_on_one_broker_are_on_the_others_from_which_it_copies_them(
        self, flow: Flow, system: System, lose: Callable[[System], str]
    ) -> None:
        hurt, *others = BROKERS
        place_orders(flow)

        lose(system)
        system.stack.wait_ready(hurt)
        wait_until(patiently(lambda: all_in_sync(system.admin())), what="it has copied everything")
        # From now on it leads, and what it lacked would be lost.
        for role in others:
            system.kill(role)
            wait_until(lambda r=role: leads_nothing(system, r), what="others lead")
            system.stack.wait_ready(role)
            wait_until(patiently(lambda: all_in_sync(system.admin())), what="it is in sync again")
        heal(flow)

        assert not RepairedMessage.objects.exists()
        assert_all_is_there_once()

    def test_of_two_brokers_are_put_back_where_the_third_was_away(self, flow: Flow, system: System) -> None:
        away, *others = BROKERS
        system.stop(away)
        wait_until(patiently(lambda: in_sync(system.admin(), TOPIC) == {2, 3}), what="it is out of sync")
        place_orders(flow)

        losses.cut_tails(system, others, bytes_each=1_000_000)
        system.start(away)
        for role in BROKERS:
            system.stack.wait_ready(role)
        found = audit().losses
        heal(flow)

        assert found
        assert_all_is_there_once()

    def test_in_a_batch_of_which_a_bit_turned_over_are_not_applied_and_come_from_another_copy(
        self, flow: Flow, system: System
    ) -> None:
        place_orders(flow)
        partition = OutboxReceipt.objects.earliest("message").partition
        leader = losses.rot_first_batch(system, TOPIC, partition)

        with capture_logs() as logged:
            flow.consume("inventory", until=lambda: any("CRC32C" in line.get("error", "") for line in logged))
        # The consumer stands before it, whatever it reads of the other partitions.
        applied = OutboxReceipt.objects.filter(
            partition=partition, message__message_id__in=ProcessedMessage.objects.values("message_id")
        )
        assert not applied.exists()
        system.kill(leader)
        wait_until(lambda: system.leader(TOPIC, partition) not in (None, leader), what="another broker leads")
        heal(flow)

        assert not DeadLetter.objects.exists()
        assert_all_is_there_once()

    def test_by_an_unclean_election_are_put_back(self, flow: Flow, system: System) -> None:
        losses.elect_uncleanly(system, TOPIC, between=lambda: place_orders(flow))

        found = audit().losses
        heal(flow)

        assert found
        assert_all_is_there_once()

    def test_after_they_were_taken_are_no_loss(self, flow: Flow, system: System) -> None:
        place_orders(flow)
        flow.settle_everything()

        losses.delete_records(system, TOPIC)

        assert audit().adds_up
        assert not audit().losses


class TestAGroupThatWasMoved:
    def test_to_the_end_gets_what_it_has_not_read(self, flow: Flow, system: System) -> None:
        place_orders(flow)

        offsets.reset_offsets(system, "inventory", to_end=True)
        found = audit().losses
        heal(flow)

        assert len(found) == ORDERS
        assert_all_is_there_once()

    def test_to_the_start_reads_everything_again_without_effect(self, flow: Flow, system: System) -> None:
        place_orders(flow)
        flow.settle_everything()
        flow.close()

        offsets.reset_offsets(system, "inventory", to_end=False)
        heal(flow)

        assert ProcessedMessage.objects.filter(consumer="inventory", redeliveries__gt=0).count() == ORDERS
        assert_all_is_there_once()

    def test_and_deleted_reads_from_the_start(self, flow: Flow, system: System) -> None:
        place_orders(flow)

        offsets.delete_group(system, "inventory")
        heal(flow)

        assert not RepairedMessage.objects.exists()
        assert_all_is_there_once()


class TestATopicWithMorePartitions:
    def test_keeps_the_order_of_each_key_whose_messages_stand_in_two_partitions(
        self, flow: Flow, system: System, declared_partitions: None
    ) -> None:
        """The second message of a key may be read before its first: it parks until that one comes."""
        place_orders(flow)
        losses.add_partitions(system, TOPIC, 9)
        for order in Order.objects.all():
            cancel_order(client_id=order.client_id, order_id=order.pk)
        # Clients of before learn of new partitions within five minutes; new ones at once.
        flow.relay = Relay()
        flow.close()
        heal(flow)

        assert OutboxMessage.objects.filter(topic=TOPIC, receipt__partition__gte=3).exists()
        assert Order.objects.filter(status=Order.Status.CANCELLED).count() == ORDERS
        assert StockItem.objects.get().on_hand == 1000
        assert not check_now(groups_at_the_end=True).violations


@pytest.fixture
def declared_partitions() -> Iterator[None]:
    """Make the topic again with its declared partitions after the test: nobody can take one away."""
    yield
    admin = admin_client()
    for future in admin.delete_topics([TOPIC], operation_timeout=30).values():
        future.result(30)
    wait_until(lambda: TOPIC not in admin.list_topics(timeout=10).topics, what="the topic is gone")
    create(admin, missing(admin, topics()))
