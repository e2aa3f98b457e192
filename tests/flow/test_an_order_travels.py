"""The whole way: an order is accepted, its stock is deducted once, and its reply comes back."""

import json

from inventory.models import StockItem, StockMovement
from messaging.prove.audit import audit
from orders.models import Order
from orders.services import cancel_order
from tests.factories import LineFactory, StockItemFactory, place
from tests.flow_tools import Flow


class TestAnOrder:
    def test_is_confirmed_and_its_stock_is_deducted_once(self, flow: Flow) -> None:
        item = StockItemFactory(initial=10)
        placed = json.loads(place(LineFactory(sku=item.sku, quantity=3)).answer)

        flow.settle_everything()

        assert Order.objects.get(pk=placed["id"]).status == Order.Status.CONFIRMED
        assert StockItem.objects.get(sku=item.sku).on_hand == 7
        assert StockMovement.objects.filter(order_id=placed["id"]).count() == 1

    def test_is_rejected_whole_when_one_line_is_short(self, flow: Flow) -> None:
        plenty, short = StockItemFactory(initial=10), StockItemFactory(initial=1)
        placed = json.loads(
            place(LineFactory(sku=plenty.sku, quantity=1), LineFactory(sku=short.sku, quantity=2)).answer
        )

        flow.settle_everything()

        order = Order.objects.get(pk=placed["id"])
        assert order.status == Order.Status.REJECTED
        assert order.rejection_reason == f"2 of {short.sku} wanted, 1 on hand"
        assert StockItem.objects.get(sku=plenty.sku).on_hand == 10

    def test_that_is_cancelled_gives_its_stock_back(self, flow: Flow) -> None:
        item = StockItemFactory(initial=10)
        placed = json.loads(place(LineFactory(sku=item.sku, quantity=3)).answer)
        order = Order.objects.get(pk=placed["id"])
        cancel_order(client_id=order.client_id, order_id=order.pk)

        flow.settle_everything()
        flow.settle_everything()

        order.refresh_from_db()
        assert order.status == Order.Status.CANCELLED
        assert StockItem.objects.get(sku=item.sku).on_hand == 10
        assert StockMovement.objects.filter(order_id=order.pk).count() == 2


class TestTheProof:
    def test_adds_up_over_database_log_and_ledger(self, flow: Flow) -> None:
        item = StockItemFactory(initial=5)
        for _ in range(10):
            place(LineFactory(sku=item.sku, quantity=1))

        flow.settle_everything()

        report = audit(deep=True).as_json()
        assert report["accepted"] == report["final"] == 10
        assert (report["confirmed"], report["rejected"]) == (5, 5)
        assert report["written"] == report["acknowledged"] == report["in_log"] == report["applied"] == 20
        assert report["ids"] == {"lost": [], "extra": [], "stuck": [], "stock_mismatches": []}
