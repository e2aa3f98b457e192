"""Repair: what Kafka lost is published again under the same id, and what it did not lose is left alone."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from inventory.models import StockItem
from messaging.models import OutboxPending, OutboxReceipt, ProcessedMessage, RepairedMessage
from messaging.prove.audit import audit
from messaging.prove.losses import Loss, Unconfirmed
from messaging.prove.repair import repair
from messaging.tasks import audit as audit_task
from tests.factories import DeadLetterFactory, LineFactory, StockItemFactory, place
from tests.flow_tools import Flow, skip_what_the_log_holds


@pytest.fixture
def passed(flow: Flow) -> Flow:
    """Three orders of which inventory's group was moved past all without reading them."""
    StockItemFactory(sku="SKU-A", initial=100)
    for _ in range(3):
        place(LineFactory(sku="SKU-A"))
    flow.relay_all()
    skip_what_the_log_holds()
    return flow


class TestWhatKafkaLost:
    def test_is_put_back_and_has_its_effect_once(self, passed: Flow) -> None:
        put_back = repair(audit().losses)
        passed.settle_everything()

        assert put_back == 3
        assert StockItem.objects.get().on_hand == 97
        assert audit(deep=True).adds_up
        assert RepairedMessage.objects.count() == 3

    def test_is_not_hidden_by_a_dead_letter_of_the_topic_s_earlier_life(self, passed: Flow) -> None:
        """A topic that was recreated counts its offsets anew, and a dead letter knows its place only."""
        receipt = OutboxReceipt.objects.earliest("pk")
        DeadLetterFactory(
            topic="orders.events",
            partition=receipt.partition,
            offset=receipt.offset,
            created_at=timezone.now() - timedelta(days=1),
        )

        assert len(audit().losses) == 3

    def test_keeps_its_message_id(self, passed: Flow) -> None:
        lost = {loss.message.message_id for loss in audit().losses}

        repair(audit().losses)
        passed.settle_everything()

        assert set(ProcessedMessage.objects.filter(consumer="inventory").values_list("message_id", flat=True)) == lost

    def test_is_put_back_once_by_two_audits_at_a_time(self, passed: Flow) -> None:
        losses = audit().losses

        assert (repair(losses), repair(losses)) == (3, 0)

    def test_is_left_alone_when_it_was_acknowledged_anew_after_the_audit_looked(self, passed: Flow) -> None:
        """Another repair and a relay were quicker: the fresh receipt is not the one that was lost."""
        losses = audit().losses
        repair(losses)
        passed.relay_all()
        fresh = list(OutboxReceipt.objects.order_by("pk").values_list("pk", "partition", "offset"))

        assert repair(losses) == 0

        assert list(OutboxReceipt.objects.order_by("pk").values_list("pk", "partition", "offset")) == fresh
        assert not OutboxPending.objects.exists()
        assert RepairedMessage.objects.count() == 3

    def test_is_harmless_when_it_was_not_lost(self, passed: Flow) -> None:
        repair(audit().losses)
        passed.settle_everything()
        taken = OutboxReceipt.objects.select_related("message").earliest("pk")
        message = Unconfirmed(taken.pk, taken.message.message_id, taken.message.topic, taken.partition, taken.offset)

        assert repair([Loss("inventory", message, "so the test says")]) == 1
        passed.settle_everything()

        assert StockItem.objects.get().on_hand == 97
        assert audit(deep=True).adds_up


class TestALaggingMessage:
    def test_is_not_put_back(self, flow: Flow) -> None:
        StockItemFactory(sku="SKU-A", initial=100)
        place(LineFactory(sku="SKU-A"))
        flow.relay_all()

        audit_task()

        assert not OutboxPending.objects.exists()
        assert not RepairedMessage.objects.exists()


class TestTheTask:
    def test_puts_back_what_is_lost(self, passed: Flow) -> None:
        audit_task()
        passed.settle_everything()

        assert StockItem.objects.get().on_hand == 97

    def test_only_reports_where_it_is_told_to(self, passed: Flow, settings: Any) -> None:
        settings.AUDIT_REPAIRS = False

        audit_task()

        assert not OutboxPending.objects.exists()


class TestTheCommand:
    def run(self, *flags: str) -> dict[str, Any]:
        said = StringIO()
        with pytest.raises(SystemExit):
            call_command("audit", "--format", "json", *flags, stdout=said)
        report: dict[str, Any] = json.loads(said.getvalue())
        return report

    def test_says_what_it_would_put_back_and_does_nothing(self, passed: Flow) -> None:
        report = self.run("--repair")

        assert (report["would_put_back"], report["put_back"]) == (3, 0)
        assert OutboxReceipt.objects.count() == 3

    def test_puts_back_when_told_to_apply(self, passed: Flow) -> None:
        report = self.run("--repair", "--apply")

        assert report["put_back"] == OutboxPending.objects.count() == 3

    def test_refuses_to_apply_nothing(self) -> None:
        with pytest.raises(CommandError, match="--apply needs --repair"):
            call_command("audit", "--apply")
