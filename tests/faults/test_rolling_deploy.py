"""A message gets a second version while orders come in: there and back, and in the wrong order. Lost: 0."""

import signal
import subprocess
import sys
from uuid import UUID

import pytest

from inventory.models import StockItem
from messaging.models import DeadLetter, OutboxMessage, ParkedMessage, ProcessedMessage
from messaging.prove.audit import audit
from orders.models import Order
from tests.factories import StockItemFactory
from tests.faults.drained import check_now
from tests.flow_tools import lag, wait_until
from tests.process_tools import Processes

pytestmark = pytest.mark.faults

V1, V2 = "tests.settings", "tests.faults.v2.settings"
NEW = "orders.order_placed.v2"
Process = subprocess.Popen[bytes]


class Fleet:
    """The product's processes, each of one version or the other."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._shoppers: list[Process] = []
        self.relay = processes.manage("relay")
        self.orders = processes.manage("consume", "orders")

    def consume(self, version: str) -> Process:
        """Start inventory's consumer of this version; it has its share when this returns."""
        consumer = self._processes.manage("consume", "inventory", DJANGO_SETTINGS_MODULE=version, LOG_LEVEL="INFO")
        self._processes.wait_for_output(consumer, "partitions assigned")
        return consumer

    def shop(self, version: str) -> Process:
        """Start placing orders with this version; the first is accepted when this returns."""
        command = (sys.executable, "-m", "tests.faults.v2.shopper", f"shopper-{len(self._shoppers)}")
        shopper = self._processes.start(*command, DJANGO_SETTINGS_MODULE=version)
        self._shoppers.append(shopper)
        wait_until(lambda: self._processes.output(shopper), what="the first order is accepted")
        return shopper

    def replay(self, letters: list[int], version: str) -> None:
        """What the operator does when the right version runs."""
        ids = map(str, letters)
        command = self._processes.manage("replay", *ids, "--reason=the upgrade", DJANGO_SETTINGS_MODULE=version)
        assert command.wait(120) == 0, self._processes.output(command)

    def accepted(self) -> set[UUID]:
        """Every order that any shopper was told of."""
        printed = " ".join(self._processes.output(shopper) for shopper in self._shoppers)
        return {UUID(word) for word in printed.split()}


@pytest.fixture
def fleet(processes: Processes) -> Fleet:
    StockItemFactory(sku="SKU-A", initial=100_000)
    return Fleet(processes)


def end(process: Process) -> None:
    """As a deploy ends a process: it finishes what it has in hand."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def taken_of_the_new_version() -> int:
    return ProcessedMessage.objects.filter(message_type=NEW).count()


def nothing_is_lost(fleet: Fleet) -> None:
    """Every order that was accepted is final, by exactly the messages and the stock that it should have."""
    wait_until(lambda: not (audit().stuck or audit().pending), what="every order is final")
    report = audit(deep=True)
    assert report.as_json()["ids"] == {"lost": [], "extra": [], "stuck": [], "stock_mismatches": []}
    assert report.written == report.in_log == report.applied
    assert (report.parked, report.dead_letters) == (0, 0)
    assert set(Order.objects.values_list("pk", flat=True)) == fleet.accepted()
    verdict = check_now(accepted=[str(order_id) for order_id in fleet.accepted()], groups_at_the_end=True)
    assert not verdict.violations, verdict.histories
    sold = Order.objects.filter(status=Order.Status.CONFIRMED).count()
    assert StockItem.objects.get().on_hand == 100_000 - sold


class TestARollingDeploy:
    def test_of_consumers_then_producers_and_back_loses_nothing_and_nothing_waits(self, fleet: Fleet) -> None:
        old_inventory, old_web = fleet.consume(V1), fleet.shop(V1)

        new_inventory = fleet.consume(V2)
        end(old_inventory)
        new_web = fleet.shop(V2)
        end(old_web)
        wait_until(lambda: taken_of_the_new_version() >= 40, what="40 orders of the new version were handled")
        # And back: what writes v2 goes first, what reads it last, when none is on its way any more.
        old_web = fleet.shop(V1)
        end(new_web)
        written = OutboxMessage.objects.filter(message_type=NEW).count()
        wait_until(lambda: taken_of_the_new_version() == written, what="the last v2 was handled")
        old_inventory = fleet.consume(V1)
        end(new_inventory)
        end(old_web)

        nothing_is_lost(fleet)
        assert not DeadLetter.objects.exists()
        assert OutboxMessage.objects.filter(message_type="orders.order_placed.v1").count() > 0

    def test_of_producers_first_makes_only_their_orders_wait_until_they_are_replayed(self, fleet: Fleet) -> None:
        old_inventory, old_web, new_web = fleet.consume(V1), fleet.shop(V1), fleet.shop(V2)

        wait_until(lambda: ParkedMessage.objects.count() >= 3, what="cancellations wait behind what nobody can read")
        end(new_web)
        end(old_web)
        wait_until(lambda: lag("inventory") == 0 and audit().pending == 0, what="all was read")
        waiting = audit()
        letters = dict(DeadLetter.objects.values_list("partition_key", "pk"))
        pending = set(Order.objects.filter(status=Order.Status.PENDING).values_list("pk", flat=True))
        end(old_inventory)
        fleet.consume(V2)
        fleet.replay(sorted(letters.values()), V2)

        assert waiting.lost == waiting.extra == waiting.stock_mismatches == []
        assert waiting.dead_letters == OutboxMessage.objects.filter(message_type=NEW).count() == len(letters)
        assert {UUID(key) for key in letters} == pending
        assert set(DeadLetter.objects.values_list("reason", flat=True)) == {DeadLetter.Reason.UNKNOWN_TYPE}
        nothing_is_lost(fleet)
