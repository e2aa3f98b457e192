"""Correcting the stock by hand: optimistic locking, raced, and through the ledger."""

import threading
from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from inventory.errors import OutOfRange, StockChanged, UnknownSku
from inventory.models import StockItem, StockMovement
from inventory.services import MOST_ON_HAND, adjust
from orders.models import Order
from tests.factories import LineFactory, StockItemFactory, place
from tests.flow_tools import Flow

pytestmark = pytest.mark.usefixtures("committed_db")

AT_ONCE = 8


def race(run: Callable[[], None]) -> None:
    """Run it in several threads at once, and wait for all."""

    def alone() -> None:
        try:
            run()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=alone) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def on_hand(sku: str) -> int:
    return StockItem.objects.get(sku=sku).on_hand


def ledger(sku: str) -> list[int]:
    return list(StockMovement.objects.filter(item=sku).values_list("quantity", flat=True))


class TestAdjust:
    def test_of_those_who_saw_one_version_lets_one_through_and_tells_the_others(self) -> None:
        StockItemFactory(sku="A", initial=100)
        barrier = threading.Barrier(AT_ONCE)
        told: list[str] = []

        def adjust_once() -> None:
            seen = StockItem.objects.get(sku="A").version
            barrier.wait(30)
            try:
                adjust(sku="A", quantity=5, seen_version=seen)
                told.append("adjusted")
            except StockChanged:
                told.append("changed")

        race(adjust_once)

        assert sorted(told) == ["adjusted"] + ["changed"] * (AT_ONCE - 1)
        assert (on_hand("A"), ledger("A")) == (105, [5])

    def test_loses_nobody_s_update_when_the_losers_look_again(self) -> None:
        StockItemFactory(sku="A", initial=100)
        barrier = threading.Barrier(AT_ONCE)
        lost_races: list[str] = []

        def adjust_until_done() -> None:
            barrier.wait(30)
            for _ in range(5):
                while True:
                    try:
                        adjust(sku="A", quantity=-1, seen_version=StockItem.objects.get(sku="A").version)
                        break
                    except StockChanged as error:
                        lost_races.append(str(error))

        race(adjust_until_done)

        assert lost_races
        assert on_hand("A") == 100 - 5 * AT_ONCE
        assert ledger("A") == [-1] * 5 * AT_ONCE

    def test_is_refused_when_an_order_took_some_meanwhile(self, flow: Flow) -> None:
        StockItemFactory(sku="A", initial=100)
        seen = StockItem.objects.get(sku="A").version
        place(LineFactory(sku="A", quantity=3))
        flow.settle_everything()
        assert Order.objects.get().status == "confirmed"

        with pytest.raises(StockChanged):
            adjust(sku="A", quantity=5, seen_version=seen)

        assert (on_hand("A"), ledger("A")) == (97, [-3])

    @pytest.mark.parametrize("quantity", [-101, MOST_ON_HAND - 99])
    def test_refuses_to_leave_what_no_stock_can_be(self, quantity: int) -> None:
        StockItemFactory(sku="A", initial=100)

        with pytest.raises(OutOfRange, match="100 of A on hand"):
            adjust(sku="A", quantity=quantity, seen_version=0)

        assert (on_hand("A"), ledger("A")) == (100, [])

    def test_can_take_all_that_there_is(self) -> None:
        StockItemFactory(sku="A", initial=100)

        adjust(sku="A", quantity=-100, seen_version=0)

        assert on_hand("A") == 0

    def test_refuses_a_sku_that_does_not_exist(self) -> None:
        with pytest.raises(UnknownSku):
            adjust(sku="A", quantity=1, seen_version=0)


class TestTheCommand:
    def test_writes_the_reason_into_the_ledger(self) -> None:
        StockItemFactory(sku="A", initial=100)
        said = StringIO()

        call_command("adjust_stock", "A", "-7", reason="broken in the store", stdout=said)

        movement = StockMovement.objects.get()
        assert (movement.kind, movement.quantity, movement.reason) == ("adjust", -7, "broken in the store")
        assert said.getvalue() == "adjusted A: 100 on hand -7 = 93\n"

    def test_changes_nothing_with_dry_run(self) -> None:
        StockItemFactory(sku="A", initial=100)
        said = StringIO()

        call_command("adjust_stock", "A", "7", "--dry-run", "--reason=counted", stdout=said)

        assert "would adjust A: 100 on hand +7 = 107" in said.getvalue()
        assert (on_hand("A"), ledger("A")) == (100, [])

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["B", "1", "--reason=x"], "there is no SKU B"),
            (["A", "0", "--reason=x"], "it must be a whole number of 1 to"),
            (["A", "1.5", "--reason=x"], "'1.5' is no whole number"),
            (["A", "99999999999", "--reason=x"], "it must be a whole number of 1 to"),
            (["A", "-101", "--reason=x"], "100 of A on hand: -1 would be left"),
            (["A", "1", "--reason= "], "1 to 255 characters"),
            (["A", "1", f"--reason={'x' * 256}"], "1 to 255 characters"),
            (["A", "1"], "required: --reason"),
            (["A", "1", "--reason=x", "--seen-version=3"], "changed since version 3, it is at 0 now. Nothing was"),
        ],
    )
    def test_says_what_is_wrong_and_changes_nothing(self, arguments: list[str], said: str) -> None:
        StockItemFactory(sku="A", initial=100)

        with pytest.raises(CommandError, match=said):
            call_command("adjust_stock", *arguments)

        assert (on_hand("A"), ledger("A")) == (100, [])
