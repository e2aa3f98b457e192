"""Prune: only what is published, confirmed by every subscriber and old; and never an id that can come again."""

from io import StringIO
from typing import Any

import pytest
from django.core import checks
from django.core.management import call_command
from django.db import connection
from django.db.models.functions import Now

from inventory.models import StockMovement
from messaging.checks import check_retention
from messaging.models import KeyPosition, OutboxMessage, OutboxReceipt, ProcessedMessage
from messaging.prove.audit import audit
from messaging.prove.retention import Pruned, prunable, prune
from tests.factories import LineFactory, StockItemFactory, place
from tests.flow_tools import Flow


@pytest.fixture
def settled(flow: Flow) -> Flow:
    StockItemFactory(sku="SKU-A", initial=100)
    for _ in range(3):
        place(LineFactory(sku="SKU-A"))
    flow.settle_everything()
    return flow


def confirm() -> None:
    audit(new_only=True)
    audit(new_only=True)


def grow_older(days: int) -> None:
    """Everything that is there happened so many days earlier."""
    with connection.cursor() as cursor:
        for table, column in [
            ("outbox_receipt", "acknowledged_at"),
            ("processed_message", "processed_at"),
            ("orders_order", "created_at"),
        ]:
            cursor.execute(f"UPDATE {table} SET {column} = {column} - %s * interval '1 day'", [days])


class TestPrune:
    def test_removes_what_is_confirmed_and_old_and_keeps_the_ledger(self, settled: Flow) -> None:
        confirm()
        grow_older(61)

        assert prune() == Pruned(messages=6, inbox=6)
        assert not OutboxMessage.objects.exists()
        assert not OutboxReceipt.objects.exists()
        assert StockMovement.objects.count() == 3
        assert KeyPosition.objects.count() == 6

    def test_leaves_an_audit_that_finds_nothing_missing(self, settled: Flow) -> None:
        confirm()
        grow_older(31)
        prune()
        place(LineFactory(sku="SKU-A"))
        settled.settle_everything()

        report = audit(deep=True)

        assert report.adds_up, report.as_json()
        # What `make demo` and `docker compose run --rm demo` prove, on volumes that they find as they are.
        assert report.written == report.acknowledged == report.in_log == report.applied == 2

    def test_keeps_what_is_young(self, settled: Flow) -> None:
        confirm()
        grow_older(29)

        assert prune() == Pruned(0, 0)

    def test_keeps_what_was_taken_lately_however_long_it_had_waited(self, settled: Flow) -> None:
        confirm()
        grow_older(31)
        ProcessedMessage.objects.update(processed_at=Now())

        assert prune() == Pruned(messages=0, inbox=0)
        assert audit().adds_up

    def test_keeps_what_no_audit_has_confirmed(self, settled: Flow) -> None:
        grow_older(100)

        assert prune().messages == 0

    def test_keeps_what_one_subscriber_has_not_taken(self, settled: Flow) -> None:
        oldest = OutboxMessage.objects.filter(topic="orders.events").earliest("id")
        ProcessedMessage.objects.filter(message_id=oldest.message_id).delete()
        confirm()
        grow_older(100)

        prune()

        assert OutboxMessage.objects.filter(topic="orders.events").count() == 3
        assert OutboxReceipt.objects.filter(message__topic="orders.events").count() == 3

    def test_keeps_the_inbox_id_of_a_message_that_is_still_in_the_outbox(self, settled: Flow) -> None:
        grow_older(100)  # never audited: the outbox keeps everything

        assert prune().inbox == 0

    def test_keeps_the_inbox_id_of_a_record_that_the_topic_may_still_hold(self, settled: Flow) -> None:
        confirm()
        grow_older(31)

        assert prune() == Pruned(messages=6, inbox=0)


class TestTheCommand:
    def test_says_what_it_would_remove_and_removes_nothing(self, settled: Flow) -> None:
        confirm()
        grow_older(31)
        said = StringIO()

        call_command("prune", "--dry-run", stdout=said)

        assert "would remove 6 messages older than 30 days" in said.getvalue()
        assert prunable().messages == 6


class TestTheCheck:
    @pytest.mark.parametrize("days", [30, 7])
    def test_refuses_an_inbox_that_forgets_before_the_topic_does(self, settings: Any, days: int) -> None:
        settings.INBOX_RETENTION_DAYS = days

        found = check_retention()

        assert {error.id for error in found} == {"messaging.E005"}

    def test_accepts_the_defaults(self) -> None:
        assert [error for error in checks.run_checks() if error.id == "messaging.E005"] == []
