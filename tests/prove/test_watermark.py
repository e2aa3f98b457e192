"""The audit of what is new: it reads no history twice, and overlooks nothing all the same."""

import pytest
from django.db import connection

from messaging.models import AuditMark, OutboxMessage, ProcessedMessage
from messaging.produce import outbox
from messaging.prove.audit import audit
from tests.factories import LineFactory, StockItemFactory, place
from tests.flow_tools import Flow


@pytest.fixture
def settled(flow: Flow) -> Flow:
    """Three orders that went the whole way."""
    StockItemFactory(sku="SKU-A", initial=100)
    for _ in range(3):
        place(LineFactory(sku="SKU-A"))
    flow.settle_everything()
    return flow


def look_twice() -> None:
    """The first look makes a candidate, the second one finds every transaction of that time ended."""
    audit(new_only=True)
    audit(new_only=True)


def confirmed_to(consumer: str = "inventory") -> int:
    return AuditMark.objects.get(pk=consumer).confirmed_to


class TestTheMark:
    def test_rises_to_the_newest_message_when_all_is_confirmed(self, settled: Flow) -> None:
        look_twice()

        newest = OutboxMessage.objects.latest("id").pk
        assert confirmed_to("inventory") == confirmed_to("orders") == newest

    def test_stays_below_a_message_that_its_consumer_has_not_taken(self, settled: Flow) -> None:
        place(LineFactory(sku="SKU-A"))
        unread = OutboxMessage.objects.latest("id").pk

        look_twice()

        assert confirmed_to("inventory") == unread - 1

    def test_waits_for_a_transaction_that_drew_an_older_id_and_has_not_ended(self, settled: Flow) -> None:
        """The younger message is visible first. Raised now, the mark would hide the older one for ever."""
        slow = connection.copy()
        slow.set_autocommit(False)
        with slow.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id(), nextval(pg_get_serial_sequence('outbox_message', 'id'))")
            _, hidden = cursor.fetchone()
        place(LineFactory(sku="SKU-A"))
        settled.settle_everything()

        look_twice()
        while_open = confirmed_to()
        slow.rollback()
        slow.close()
        look_twice()

        assert while_open < hidden < confirmed_to()

    def test_is_not_stuck_where_the_tables_were_loaded_into_a_younger_server(self, settled: Flow) -> None:
        look_twice()
        AuditMark.objects.update(candidate_open_until=2**60)
        place(LineFactory(sku="SKU-A"))
        settled.settle_everything()

        look_twice()

        assert confirmed_to() == OutboxMessage.objects.latest("id").pk


class TestAnAuditOfWhatIsNew:
    def test_counts_only_what_came_after_the_mark(self, settled: Flow) -> None:
        look_twice()
        place(LineFactory(sku="SKU-A"))
        settled.settle_everything()

        report = audit(new_only=True)

        assert (report.written, report.acknowledged, report.applied) == (2, 2, 2)
        assert report.domain["accepted"] == report.domain["final"] == 1
        assert report.adds_up

    def test_finds_a_message_that_its_consumer_passed(self, settled: Flow) -> None:
        look_twice()
        place(LineFactory(sku="SKU-A"))
        settled.settle_everything()
        skipped = ProcessedMessage.objects.filter(consumer="inventory").latest("id")
        skipped.delete()

        report = audit(new_only=True)

        assert [loss.message.message_id for loss in report.losses] == [skipped.message_id]

    def test_finds_it_again_until_it_is_mended(self, settled: Flow) -> None:
        ProcessedMessage.objects.filter(consumer="inventory").latest("id").delete()
        look_twice()
        look_twice()

        assert len(audit(new_only=True).losses) == 1

    def test_finds_an_order_whose_effect_differs_from_its_status(self, settled: Flow) -> None:
        look_twice()
        place(LineFactory(sku="SKU-A"))
        settled.settle_everything()
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM inventory_stockmovement WHERE id = (SELECT max(id) FROM inventory_stockmovement)"
            )

        assert len(audit(new_only=True).lost) == 1


class TestAppend:
    def test_gives_the_transaction_its_id_before_the_message_s(self, committed_db: None) -> None:
        """In the plan the one-time filter stands below the node that draws the ids, so it comes first."""
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (VERBOSE, COSTS OFF) {outbox._INSERT}", {"drafts": "[]"})
            plan = "\n".join(line for (line,) in cursor.fetchall())

        assert plan.index("nextval") < plan.index("One-Time Filter: (pg_current_xact_id() IS NOT NULL)")
