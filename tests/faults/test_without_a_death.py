"""Faults in which nobody dies: a lock that two want, a client whose queue is full, an answer that is half a refusal."""

import json
import threading
import time
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError, connection, transaction
from structlog.testing import capture_logs

import inventory.reservations
import orders.replies
from faults.chaos.figures import REFUSED
from inventory.models import StockItem
from messaging.consume import consumer, reader
from messaging.envelope import Record
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

CONSUMERS = ("inventory", "orders")
# What each consumer changes: the SKU's row, the order's row.
_TOUCH = {
    "inventory": "UPDATE inventory_stockitem SET version = version WHERE sku = %s",
    "orders": "UPDATE orders_order SET status = status WHERE id = %s",
}
# Where each has its effect, within its transaction.
_HAS_ITS_EFFECT: dict[str, tuple[ModuleType, str]] = {
    "inventory": (inventory.reservations, "reserve"),
    "orders": (orders.replies, "_move"),
}
_WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def waiting() -> int:
    """How many transactions wait for another one's lock."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING)
        return int(cursor.fetchone()[0])


def arrive(flow: Flow, name: str, *, orders: int = 1) -> list[UUID]:
    """Let these orders come as far as the consumer of this name, which has not read them yet. Gives their ids."""
    StockItemFactory(sku="SKU-A", initial=10)
    placed = [UUID(json.loads(place(LineFactory(sku="SKU-A")).answer)["id"]) for _ in range(orders)]
    flow.relay_all()
    if name == "orders":
        flow.consume_all("inventory")
        flow.relay_all()
    return placed


@contextmanager
def somebody_who_locks(name: str, first: object, then: object = None) -> Iterator[None]:
    """Another transaction changes one row; as soon as somebody waits for it, it wants the other one, and commits.

    It is patient for longer than the test: whoever else is in a circle is the one that PostgreSQL ends.
    """
    locked, committed = threading.Event(), threading.Event()

    def lock() -> None:
        # In a thread of its own `connection` is one of its own.
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL deadlock_timeout = '5min'")
                cursor.execute(_TOUCH[name], [first])
                locked.set()
                wait_until(waiting, what="the consumer waits")
                if then:
                    cursor.execute(_TOUCH[name], [then])
            committed.set()
        finally:
            connection.close()

    thread = threading.Thread(target=lock)
    thread.start()
    assert locked.wait(10)
    yield
    thread.join()
    # It got the last lock, so the consumer was the one that PostgreSQL ended.
    assert committed.is_set()


def errors_after_which_it_ran_again(logged: Sequence[MutableMapping[str, Any]]) -> list[str]:
    return [line["error"] for line in logged if "running again" in line["event"]]


class TestADeadlock:
    def test_makes_inventory_run_its_transaction_again(self, flow: Flow) -> None:
        for sku in ("SKU-A", "SKU-B"):
            StockItemFactory(sku=sku, initial=10)
        place(LineFactory(sku="SKU-A"), LineFactory(sku="SKU-B"))
        flow.relay_all()

        with somebody_who_locks("inventory", "SKU-B", then="SKU-A"), capture_logs() as logged:
            flow.consume_all("inventory")
        flow.settle_everything()

        assert ["deadlock" in error for error in errors_after_which_it_ran_again(logged)] == [True]
        assert set(StockItem.objects.values_list("on_hand", flat=True)) == {9}
        assert not DeadLetter.objects.exists()
        assert not check_now(groups_at_the_end=True).violations

    def test_makes_orders_run_its_transaction_again(self, flow: Flow) -> None:
        first, second = arrive(flow, "orders", orders=2)
        replies: list[Record] = []
        # In one batch: it changes both orders, the one that was placed first before the other.
        wait_until(lambda: replies.extend(flow.reader("orders").next_batch(1)) or len(replies) == 2, what="both came")

        with somebody_who_locks("orders", second, then=first), capture_logs() as logged:
            consumer.apply_or_bury(subscription("orders"), replies)
        flow.close()
        flow.settle_everything()

        assert ["deadlock" in error for error in errors_after_which_it_ran_again(logged)] == [True]
        assert set(Order.objects.values_list("status", flat=True)) == {Order.Status.CONFIRMED}
        assert not DeadLetter.objects.exists()
        assert not check_now(groups_at_the_end=True).violations


class TestASerializationFailure:
    @pytest.mark.parametrize("name", CONSUMERS)
    def test_makes_the_consumer_run_its_transaction_again(self, flow: Flow, name: str) -> None:
        (order_id,) = arrive(flow, name)
        with connection.cursor() as cursor:
            # Whoever waits for a row that changes meanwhile is refused (40001).
            cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ")

        try:
            with (
                somebody_who_locks(name, {"inventory": "SKU-A", "orders": order_id}[name]),
                capture_logs() as logged,
            ):
                flow.consume_all(name)
        finally:
            connection.close()
        flow.settle_everything()

        assert ["could not serialize" in error for error in errors_after_which_it_ran_again(logged)] == [True]
        assert StockItem.objects.get().on_hand == 9
        assert not DeadLetter.objects.exists()
        assert not check_now(groups_at_the_end=True).violations


class TestTwoMembersWithOneMessage:
    """A zombie and its successor have the same record in hand: the inbox's unique key makes the second one wait."""

    @pytest.mark.parametrize("first_ends", ["commit", "rollback"])
    @pytest.mark.parametrize("name", CONSUMERS)
    def test_the_second_waits_for_the_end_of_the_first_and_there_is_one_effect(
        self, flow: Flow, name: str, first_ends: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module, function = _HAS_ITS_EFFECT[name]
        arrive(flow, name)
        read: list[Record] = []
        wait_until(lambda: read.extend(flow.reader(name).next_batch(1)) or read, what="the record is read")
        first_may_end, has_done_it = threading.Event(), threading.Event()
        original = getattr(module, function)

        def first_one_slowly(*arguments: Any, **more: Any) -> Any:
            answer = original(*arguments, **more)
            if threading.current_thread().name == "first":
                has_done_it.set()
                assert first_may_end.wait(30)
                if first_ends == "rollback":
                    raise OperationalError("the database ended it")
            return answer

        monkeypatch.setattr(module, function, first_one_slowly)
        ended: list[str] = []

        def apply() -> None:
            try:
                consumer.apply_or_bury(subscription(name), read)
                ended.append(f"{threading.current_thread().name}: commit")
            except OperationalError:
                ended.append(f"{threading.current_thread().name}: rollback")
            finally:
                connection.close()

        members = [threading.Thread(target=apply, name=name) for name in ("first", "second")]
        members[0].start()
        assert has_done_it.wait(30)
        members[1].start()
        wait_until(lambda: waiting() == 1, what="the second waits for the inbox's row")
        assert ended == []
        first_may_end.set()
        for member in members:
            member.join()

        assert sorted(ended) == [f"first: {first_ends}", "second: commit"]
        taken = ProcessedMessage.objects.get(consumer=name)
        assert taken.redeliveries == (1 if first_ends == "commit" else 0)
        assert StockItem.objects.get().on_hand == 9
        flow.close()
        flow.settle_everything()
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
    @pytest.mark.parametrize(
        ("name", "module", "step"),
        [("inventory", inventory.reservations, "reserve"), ("orders", orders.replies, "_move")],
        ids=["inventory", "orders"],
    )
    def test_costs_the_consumer_its_partitions_and_is_delivered_again(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch, name: str, module: ModuleType, step: str
    ) -> None:
        poll_seconds = kafka.SESSION_TIMEOUT_MS / 1000  # Kafka wants it no shorter
        settings = kafka.consumer_settings
        impatient = {"max.poll.interval.ms": kafka.SESSION_TIMEOUT_MS}
        monkeypatch.setattr(reader, "consumer_settings", lambda group: settings(group) | impatient)
        original, slept = getattr(module, step), []

        def slowly(*arguments: Any, **options: Any) -> Any:
            if not slept:
                slept.append(time.sleep(poll_seconds + 2))
            return original(*arguments, **options)

        arrive(flow, name)
        monkeypatch.setattr(module, step, slowly)

        with capture_logs() as logged:
            flow.consume_all(name)
        flow.settle_everything()

        assert "partitions lost" in [line["event"] for line in logged]
        assert ProcessedMessage.objects.get(consumer=name).redeliveries > 0
        assert StockItem.objects.get().on_hand == 9
        assert not DeadLetter.objects.exists()
        assert not check_now(groups_at_the_end=True).violations


class TestAnOffsetCommit:
    @pytest.mark.parametrize("name", CONSUMERS)
    def test_that_is_refused_for_one_partition_is_good_for_the_others(self, flow: Flow, name: str) -> None:
        arrive(flow, name)
        declared, mine = subscription(name), flow.reader(name)

        def committed() -> bool:
            if records := mine.next_batch(1):
                consumer.apply_or_bury(declared, records)
                # There is no such partition: Kafka refuses it, and it alone.
                mine.handled([*records, replace(records[-1], partition=99)])
            return bool(records)

        def refusals() -> list[str]:
            # librdkafka makes one partition's refusal the answer to all: what was good is asked for again, too.
            return [line["error"] for line in logged if line["event"] in REFUSED]

        with capture_logs() as logged:
            wait_until(committed, what="a batch was committed")
            assert len(refusals()) == 1
            assert lag(name) == 0
            wait_until(lambda: mine.next_batch(0.2) == [] and len(refusals()) > 1, what="it is tried again")

        assert all("UNKNOWN_TOPIC_OR_PART" in error for error in refusals())
