"""The audit: it finds what is missing and what is too much, and says so with its exit status."""

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from inventory.models import StockItem, StockMovement
from messaging.management.commands import audit as command
from messaging.models import DeadLetter, KeyPosition, OutboxMessage, OutboxPending, OutboxReceipt, ProcessedMessage
from messaging.prove import kafka_log
from messaging.prove.audit import audit
from orders.models import Order
from tests.consume.messages import TOPIC, placed
from tests.factories import DeadLetterFactory, LineFactory, StockItemFactory, place
from tests.flow_tools import Flow, produce_envelope, produce_raw


@pytest.fixture
def settled(flow: Flow) -> Flow:
    """Three orders that went the whole way."""
    item = StockItemFactory(sku="SKU-A", initial=100)
    for quantity in (1, 2, 3):
        place(LineFactory(sku=item.sku, quantity=quantity))
    flow.settle_everything()
    return flow


class TestTheAudit:
    def test_of_a_whole_flow_finds_nothing_missing(self, settled: Flow) -> None:
        report = audit(deep=True)

        assert report.adds_up
        assert report.as_json()["in_log"] == 6

    def test_does_not_call_a_lagging_message_lost(self, settled: Flow) -> None:
        place(LineFactory(sku="SKU-A"))
        settled.relay_all()

        report = audit(deep=True)

        assert report.adds_up
        assert report.acknowledged == 7
        assert report.applied == 6

    def test_does_not_call_a_pending_message_lost(self, settled: Flow) -> None:
        place(LineFactory(sku="SKU-A"))

        report = audit(deep=True)

        assert report.adds_up
        assert report.pending == 1
        assert len(report.stuck) == 1

    @pytest.mark.parametrize("new_only", [False, True])
    def test_finds_a_message_that_left_the_queue_without_an_acknowledgement(
        self, settled: Flow, new_only: bool
    ) -> None:
        place(LineFactory(sku="SKU-A"))
        OutboxPending.objects.all().delete()

        report = audit(new_only=new_only)

        message_id = OutboxMessage.objects.latest("id").message_id
        assert report.lost == [f"{message_id} (it waits for no relay, and was never acknowledged)"]

    def test_finds_a_message_that_its_consumer_passed_without_taking_it(self, settled: Flow) -> None:
        skipped = ProcessedMessage.objects.filter(consumer="inventory").earliest("id")
        skipped.delete()

        report = audit()

        assert [entry.split()[0] for entry in report.lost] == [str(skipped.message_id)]

    def test_is_not_blinded_by_a_stranger_that_claims_the_lost_message_s_id(self, settled: Flow) -> None:
        skipped = ProcessedMessage.objects.filter(consumer="inventory").earliest("id")
        produce_raw(TOPIC, key=b"k", value=b"?", headers=[("ce_id", str(skipped.message_id))])
        settled.consume_all("inventory")
        assert DeadLetter.objects.get().message_id == skipped.message_id
        skipped.delete()

        assert len(audit().lost) == 1

    def test_finds_a_message_that_the_log_does_not_hold_where_it_should(self, settled: Flow) -> None:
        receipt = OutboxReceipt.objects.select_related("message").latest("acknowledged_at")
        OutboxMessage.objects.filter(pk=receipt.pk).update(payload='{"another": "payload"}')

        report = audit(deep=True)

        assert report.as_json()["in_log"] == 5
        assert any(str(receipt.message.message_id) in entry for entry in report.lost)

    def test_finds_a_message_beyond_the_end_of_the_log(self, settled: Flow) -> None:
        place(LineFactory(sku="SKU-A"))
        settled.relay_all()
        newest = OutboxReceipt.objects.latest("acknowledged_at")
        OutboxReceipt.objects.filter(pk=newest.pk).update(offset=10_000_000)

        report = audit()

        assert len(report.lost) == 1

    def test_counts_a_dead_letter_as_held_and_not_as_applied(self, flow: Flow) -> None:
        produce_raw(TOPIC, key=b"k", value=b"?", headers=[])
        produce_envelope(TOPIC, placed(message_type="orders.order_placed.v999"))
        flow.consume_all("inventory")

        report = audit()

        assert report.dead_letters == DeadLetter.objects.count() == 2
        assert report.applied == 0


class TestTheBooks:
    def test_find_an_order_whose_stock_was_not_deducted(self, settled: Flow) -> None:
        movement = StockMovement.objects.earliest("id")
        movement.delete()

        report = audit()

        assert any(str(movement.order_id) in entry for entry in report.lost)
        assert report.stock_mismatches

    def test_find_a_deduction_for_an_order_that_does_not_exist(self, settled: Flow) -> None:
        StockMovement.objects.create(
            item_id="SKU-A", kind="reserve", quantity=-1, order_id="00000000-0000-0000-0000-000000000001"
        )
        StockItem.objects.filter(sku="SKU-A").update(on_hand=93)

        report = audit()

        assert len(report.extra) == 1
        assert not report.stock_mismatches

    def test_find_stock_that_the_ledger_does_not_explain(self, settled: Flow) -> None:
        StockItem.objects.filter(sku="SKU-A").update(on_hand=95)

        assert audit().stock_mismatches == ["SKU-A: initial 100 + ledger -6 is not on hand 95"]

    def test_find_a_rejected_order_that_was_deducted(self, settled: Flow) -> None:
        order = Order.objects.earliest("id")
        Order.objects.filter(pk=order.pk).update(status=Order.Status.REJECTED)

        assert any(str(order.pk) in entry for entry in audit().extra)

    def test_find_an_order_to_which_nobody_will_reply(self, settled: Flow) -> None:
        order = Order.objects.earliest("id")
        Order.objects.filter(pk=order.pk).update(status=Order.Status.PENDING)

        assert f"order {order.pk}: is pending and not final, and no message of it is on its way" in audit().lost

    def test_find_no_fault_with_an_order_whose_reply_waits_for_an_operator(self, settled: Flow) -> None:
        reply = OutboxMessage.objects.filter(source="inventory").earliest("id")
        Order.objects.filter(pk=reply.partition_key).update(status=Order.Status.PENDING)
        # As the consumer leaves it: the order has not moved, so the stock is not compared yet.
        DeadLetterFactory(message_id=reply.message_id, consumer="orders")

        assert audit().lost == []

    def test_find_an_order_without_a_message(self, settled: Flow) -> None:
        order = Order.objects.earliest("id")
        KeyPosition.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE outbox_message SET sequence = 99 WHERE partition_key = %s", [str(order.pk)])

        assert f"order {order.pk}: has no message in the outbox" in audit().lost


class TestTheCommand:
    def run(self, **options: Any) -> tuple[int, str]:
        said = StringIO()
        try:
            call_command("audit", stdout=said, **options)
        except SystemExit as ended:
            return int(str(ended.code)), said.getvalue()
        return 0, said.getvalue()

    def test_ends_with_0_and_the_counts_when_all_is_there(self, settled: Flow) -> None:
        status, said = self.run(deep=True, format="json")

        report = json.loads(said)
        assert status == 0
        assert {
            "accepted", "final", "written", "acknowledged", "in_log", "applied", "redelivered", "pending", "parked",
            "dead_letters", "lost", "extra", "stock_mismatches",
        } <= report.keys()  # fmt: skip

    def test_ends_with_1_and_the_ids_while_anything_is_missing(self, settled: Flow) -> None:
        skipped = ProcessedMessage.objects.filter(consumer="inventory").earliest("id")
        skipped.delete()

        status, said = self.run()

        assert status == 1
        assert f"lost: {skipped.message_id}" in said
        assert said.splitlines()[-1] == "lost 1, extra 0, stuck 0: IT DOES NOT ADD UP"

    def test_of_beat_logs_all_counts_and_the_first_ids(self, settled: Flow) -> None:
        ProcessedMessage.objects.filter(consumer="inventory").delete()

        report = audit().as_json(most_ids=1)

        assert report["lost"] == 3
        assert len(report["ids"]["lost"]) == 1

    def test_names_only_the_first_of_many_ids(self, settled: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(command, "MOST_SHOWN", 1)
        ProcessedMessage.objects.filter(consumer="inventory").delete()

        _, said = self.run()

        assert len([line for line in said.splitlines() if line.startswith("lost: ")]) == 2
        assert "lost: … and 2 more" in said

    @override_settings(KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    def test_proves_nothing_while_kafka_does_not_answer(
        self, committed_db: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(kafka_log, "ANSWER_SECONDS", 1.0)
        with pytest.raises(CommandError, match="nothing is proven"):
            call_command("audit")
