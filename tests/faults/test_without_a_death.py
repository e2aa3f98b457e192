"""Faults in which nobody dies: a lock that two want, a client whose queue is full, an answer that is half a refusal."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection, transaction
from structlog.testing import capture_logs

import inventory.reservations
from inventory.models import StockItem
from messaging.consume import consumer, reader
from messaging.models import DeadLetter, OutboxReceipt, ProcessedMessage
from messaging.produce import publisher
from messaging.produce.shards import SHARDS
from messaging.registry import subscription
from messaging.store import kafka
from orders.models import Order
from tests.factories import ApiClientFactory, LineFactory, StockItemFactory, place
from tests.faults.drained import check_now
from tests.faults.proof import assert_no_attempt_spent
from tests.flow_tools import Flow, lag, wait_until

pytestmark = pytest.mark.faults

_TOUCH = "UPDATE inventory_stockitem SET version = version + 1 WHERE sku = %s"
_SOMEBODY_WAITS = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@contextmanager
def somebody_who_locks(first: str, then: str | None = None) -> Iterator[None]:
    """Another transaction changes one SKU; as soon as somebody waits for that, it wants the other, and commits.

    It is patient for longer than the test: whoever else is in a circle is the one that PostgreSQL ends.
    """
    locked = threading.Event()

    def somebody_waits() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(_SOMEBODY_WAITS)
            return bool(cursor.fetchone()[0])

    def lock() -> None:
        # In a thread of its own `connection` is one of its own.
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL deadlock_timeout = '5min'")
                cursor.execute(_TOUCH, [first])
                locked.set()
                wait_until(somebody_waits, what="the consumer waits")
                if then:
                    cursor.execute(_TOUCH, [then])
        finally:
            connection.close()

    thread = threading.Thread(target=lock)
    thread.start()
    assert locked.wait(10)
    yield
    thread.join()
    # It got the last lock, so the consumer was the one that PostgreSQL ended.
    assert StockItem.objects.get(sku=then or first).version > 1


class TestADeadlock:
    def test_makes_the_consumer_run_its_transaction_again(self, flow: Flow) -> None:
        for sku in ("SKU-A", "SKU-B"):
            StockItemFactory(sku=sku, initial=10)
        place(LineFactory(sku="SKU-A"), LineFactory(sku="SKU-B"))
        flow.relay_all()

        with somebody_who_locks("SKU-B", then="SKU-A"):
            flow.consume_all("inventory")
        flow.settle_everything()

        assert set(StockItem.objects.values_list("on_hand", flat=True)) == {9}
        assert not DeadLetter.objects.exists()
        assert not check_now(groups_at_the_end=True).violations


class TestASerializationFailure:
    def test_makes_the_consumer_run_its_transaction_again(self, flow: Flow) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        place(LineFactory(sku="SKU-A"))
        flow.relay_all()
        with connection.cursor() as cursor:
            # Whoever waits for a row that changes meanwhile is refused (40001).
            cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ")

        try:
            with somebody_who_locks("SKU-A"), capture_logs() as logged:
                flow.consume_all("inventory")
        finally:
            connection.close()
        flow.settle_everything()

        assert ["could not serialize" in line["error"] for line in logged if "running again" in line["event"]] == [True]
        assert StockItem.objects.get().on_hand == 9
        assert not DeadLetter.objects.exists()
        assert not check_now(groups_at_the_end=True).violations


class TestAClientWhoseQueueIsFull:
    def test_leaves_the_rest_pending_without_blame(self, flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = kafka.producer_settings() | {"queue.buffering.max.messages": 10}
        monkeypatch.setattr(publisher, "producer_settings", lambda: settings)
        StockItemFactory(sku="SKU-A", initial=100)
        client = ApiClientFactory()
        for _ in range(30):
            place(LineFactory(sku="SKU-A"), client=client)

        flow.relay.round(shards=list(range(SHARDS)), wait=0.5)
        flow.relay.round(shards=[], wait=0.5)
        refused = len(flow.relay._retrying)
        assert_no_attempt_spent()
        flow.relay_all()

        assert refused
        assert OutboxReceipt.objects.count() == 30
        flow.settle_everything()
        assert Order.objects.filter(status=Order.Status.CONFIRMED).count() == 30
        assert not check_now(groups_at_the_end=True).violations


class TestABatchThatTakesTooLong:
    def test_costs_the_consumer_its_partitions_and_is_delivered_again(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        poll_seconds = kafka.SESSION_TIMEOUT_MS / 1000  # Kafka wants it no shorter
        settings = kafka.consumer_settings
        impatient = {"max.poll.interval.ms": kafka.SESSION_TIMEOUT_MS}
        monkeypatch.setattr(reader, "consumer_settings", lambda group: settings(group) | impatient)
        reserve, slept = inventory.reservations.reserve, []

        def slowly(*arguments: Any) -> Any:
            if not slept:
                slept.append(time.sleep(poll_seconds + 2))
            return reserve(*arguments)

        monkeypatch.setattr(inventory.reservations, "reserve", slowly)
        StockItemFactory(sku="SKU-A", initial=10)
        place(LineFactory(sku="SKU-A"))
        flow.relay_all()

        with capture_logs() as logged:
            flow.consume_all("inventory")
        flow.settle_everything()

        assert "partitions lost" in [line["event"] for line in logged]
        assert ProcessedMessage.objects.get(consumer="inventory").redeliveries > 0
        assert StockItem.objects.get().on_hand == 9
        assert not DeadLetter.objects.exists()
        assert not check_now(groups_at_the_end=True).violations


class TestAnOffsetCommit:
    def test_that_is_refused_for_one_partition_is_good_for_the_others(self, flow: Flow) -> None:
        StockItemFactory(sku="SKU-A", initial=100)
        place(LineFactory(sku="SKU-A"))
        flow.relay_all()
        declared, mine = subscription("inventory"), flow.reader("inventory")

        def committed() -> bool:
            if records := mine.next_batch(1):
                consumer.apply_or_bury(declared, records)
                # There is no such partition: Kafka refuses it, and it alone.
                mine.handled([*records, replace(records[-1], partition=99)])
            return bool(records)

        wait_until(committed, what="a batch was committed")

        assert lag("inventory") == 0
