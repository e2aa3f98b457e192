"""The checker is silent about a clean history, and each of its checks can turn red.

The history is real: the product places, cancels, publishes and consumes it in this process. Each case then gets a
copy of its database, makes one thing wrong there, and the checker must tell exactly what follows. A copy may also lose
the constraints that keep the product from such a row: the checker has to see it without them.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from django.conf import settings
from django.db import connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from devservices import Stack
from faults.chaos import log_looks
from faults.chaos.log_looks import LogLooks
from faults.chaos.watch import Watch
from faults.checker import _SQL, Place, Verdict, Violation, check
from faults.losses import TOPICS
from faults.system import System
from inventory.models import StockItem
from inventory.services import adjust
from messaging.store.kafka import consumer_settings
from orders.services import cancel_order
from tests.factories import ApiClientFactory, LineFactory, StockItemFactory, place
from tests.flow_tools import Flow, skip_what_the_log_holds
from tests.process_tools import environment

pytestmark = pytest.mark.planted

AT_A_TIME = 6  # a check waits for Kafka most of its time
KEYS = ["first", "second"]  # every Idempotency-Key that the clients of the history tried
PLACE: Place = ("orders.events", 0, 7)
DEAD_LETTER = """
    INSERT INTO dead_letter (consumer, topic, partition, "offset", headers, reason, detail, fingerprint)
    VALUES ('inventory', 'orders.events', 0, 7, '[]', 'unreadable', 'ce_id is not a UUID', gen_random_uuid()::text)"""
ELSEWHERE = 'UPDATE outbox_receipt SET "offset" = "offset" + 1000000'
NOT_TAKEN = "DELETE FROM processed_message WHERE partition_key = %(rejected)s AND consumer = 'inventory'"
LOST_BEFORE_THE_HISTORY, LOST_AFTER_IT = (
    dict.fromkeys(TOPICS, datetime(year, 1, 1, tzinfo=UTC)) for year in (2000, 2100)
)


@dataclass(frozen=True, slots=True)
class History:
    """A database in which one order was confirmed, one rejected and one cancelled, and their ids."""

    url: str
    confirmed: str
    rejected: str
    cancelled: str

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Statements, which may name the orders: `%(confirmed)s`. Returns the rows of the last."""
        ids = {"confirmed": self.confirmed, "rejected": self.rejected, "cancelled": self.cancelled}
        with psycopg.connect(self.url, cursor_factory=psycopg.ClientCursor) as db:
            cursor = db.execute(sql, ids)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def check(self, **what: Any) -> Verdict:
        return check(database_url=self.url, bootstrap_servers=settings.KAFKA_BOOTSTRAP_SERVERS, **what)

    def place_of_the_reply(self) -> Place:
        """Where in the log the reply to the rejected order stands."""
        (found,) = self.execute(
            """
            SELECT m.topic, r.partition, r."offset" FROM outbox_message m JOIN outbox_receipt r ON r.outbox_id = m.id
            WHERE m.partition_key = %(rejected)s AND m.source = 'inventory'
            """
        )
        return found


@pytest.fixture(scope="module")
def clean_history(kafka: AdminClient, committed_rows: None) -> History:
    """What the product itself leaves behind, once for all tests of the module: none of them changes it."""
    for sku in ("SKU-A", "SKU-B"):
        StockItemFactory(sku=sku, initial=10)
    client, other_client = ApiClientFactory.create_batch(2)
    skip_what_the_log_holds()
    confirmed = place(LineFactory(sku="SKU-A", quantity=2), LineFactory(sku="SKU-B"), client=client, key="first")
    rejected = place(LineFactory(sku="SKU-A", quantity=11), client=client, key="second")
    # A key is its client's own: another client's order under the same key is another order.
    cancelled = place(LineFactory(sku="SKU-A", quantity=3), client=other_client, key="first")
    ids = [json.loads(placed.answer)["id"] for placed in (confirmed, rejected, cancelled)]
    cancel_order(client_id=other_client.pk, order_id=ids[2])
    flow = Flow()
    flow.settle_everything()
    flow.close()
    adjust(sku="SKU-B", quantity=5, seen_version=StockItem.objects.get(sku="SKU-B").version)
    with connection.cursor() as cursor:  # a database can be copied while nobody is connected to it
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    connection.close()
    return History(environment()["DATABASE_URL"], *ids)


@pytest.fixture
def history(clean_history: History) -> Iterator[History]:
    """A copy of the clean history for one test."""
    with copy_of(clean_history) as copy:
        yield copy


@contextlib.contextmanager
def copy_of(history: History) -> Iterator[History]:
    """The same in a database of its own: rows and constraints may be changed at will, for it is thrown away."""
    source = conninfo_to_dict(history.url)["dbname"]
    name = f"{source}_{uuid4().hex[:8]}"
    with psycopg.connect(history.url, dbname="postgres", autocommit=True) as server:
        server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
        try:
            yield replace(history, url=make_conninfo(history.url, dbname=name))
        finally:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@dataclass(frozen=True, slots=True)
class Case:
    """One thing made wrong in the database, or `asked` of the checker, and all that it must tell of it.

    What it tells is written as the invariant and words of the violation.
    """

    name: str
    sql: str
    told: set[str]
    asked: dict[str, Any] = field(default_factory=dict)


WRONG = [
    Case(
        "a-line-of-a-confirmed-order-is-not-in-the-ledger",
        "DELETE FROM inventory_stockmovement WHERE order_id = %(confirmed)s AND sku = 'SKU-B'",
        {"I1 was not deducted", "I4 is not on hand"},
    ),
    Case(
        "an-order-s-ledger-has-another-quantity",
        "UPDATE inventory_stockmovement SET quantity = -1 WHERE order_id = %(confirmed)s AND sku = 'SKU-A'",
        {"I1 was not deducted", "I4 is not on hand"},
    ),
    Case(
        "a-cancelled-order-was-never-deducted",
        "DELETE FROM inventory_stockmovement WHERE order_id = %(cancelled)s AND kind = 'reserve'",
        {"I1 was not deducted", "I4 is not on hand"},
    ),
    Case(
        "a-cancelled-order-was-not-put-back",
        "DELETE FROM inventory_stockmovement WHERE order_id = %(cancelled)s AND kind = 'release'",
        {"I1 was not put back", "I4 is not on hand"},
    ),
    Case(
        "an-order-s-message-was-never-written",
        "DELETE FROM outbox_message WHERE partition_key = %(confirmed)s AND source = 'orders'",
        {"I1 the order has no message", "I2 which nobody wrote"},
    ),
    Case(
        "a-message-has-left-the-queue-without-a-receipt",
        """
        DELETE FROM outbox_receipt WHERE outbox_id IN (
            SELECT id FROM outbox_message WHERE partition_key = %(confirmed)s AND source = 'orders')
        """,
        {"I1 is in no queue and has no receipt"},
    ),
    Case(
        "a-consumer-has-skipped-a-message",
        NOT_TAKEN,
        {"I1 was acknowledged and never taken"},
    ),
    Case(
        "stock-moved-for-an-order-that-nobody-placed",
        """
        INSERT INTO inventory_stockmovement (order_id, sku, kind, quantity)
        VALUES (gen_random_uuid(), 'SKU-A', 'reserve', -1)
        """,
        {"I2 for no such order or line", "I4 is not on hand"},
    ),
    Case(
        "stock-moved-that-the-order-does-not-name",
        """
        INSERT INTO inventory_stockmovement (order_id, sku, kind, quantity)
        VALUES (%(cancelled)s, 'SKU-B', 'release', 1)
        """,
        {"I2 for no such order or line", "I4 is not on hand"},
    ),
    Case(
        "a-rejected-order-was-deducted",
        """
        INSERT INTO inventory_stockmovement (order_id, sku, kind, quantity)
        VALUES (%(rejected)s, 'SKU-A', 'reserve', -11)
        """,
        {"I2 rejected, and stock moved", "I4 is not on hand"},
    ),
    Case(
        "a-confirmed-order-was-put-back",
        """
        INSERT INTO inventory_stockmovement (order_id, sku, kind, quantity)
        VALUES (%(confirmed)s, 'SKU-A', 'release', 2)
        """,
        {"I2 confirmed for good, and stock was put back", "I4 is not on hand"},
    ),
    Case(
        "a-consumer-took-a-message-under-another-id",
        """
        UPDATE processed_message SET message_id = gen_random_uuid()
        WHERE partition_key = %(rejected)s AND consumer = 'inventory'
        """,
        {"I2 which nobody wrote", "I1 was acknowledged and never taken"},
    ),
    Case(
        "a-line-was-deducted-twice",
        """
        ALTER TABLE inventory_stockmovement DROP CONSTRAINT inventory_stockmovement_once;
        INSERT INTO inventory_stockmovement (order_id, sku, kind, quantity)
        VALUES (%(confirmed)s, 'SKU-A', 'reserve', -2)
        """,
        {"I3 rows of", "I4 is not on hand"},
    ),
    Case(
        "stock-is-on-hand-that-the-ledger-does-not-know",
        "UPDATE inventory_stockitem SET on_hand = on_hand + 1 WHERE sku = 'SKU-A'",
        {"I4 is not on hand"},
    ),
    Case(
        "less-than-nothing-is-on-hand-as-the-ledger-says",
        """
        ALTER TABLE inventory_stockitem DROP CONSTRAINT inventory_stockitem_not_negative;
        INSERT INTO inventory_stockmovement (sku, kind, quantity) VALUES ('SKU-A', 'adjust', -9);
        UPDATE inventory_stockitem SET on_hand = on_hand - 9 WHERE sku = 'SKU-A'
        """,
        {"I4 is not on hand"},
    ),
    Case(
        "a-position-is-beyond-what-was-taken",
        "UPDATE key_position SET last_sequence = 2 WHERE partition_key = %(confirmed)s AND consumer = 'inventory'",
        {"I5 and took"},
    ),
    Case(
        "a-position-was-forgotten",
        "DELETE FROM key_position WHERE partition_key = %(confirmed)s AND consumer = 'inventory'",
        {"I5 and took"},
    ),
    Case(
        "a-stream-has-a-gap",
        "DELETE FROM processed_message WHERE partition_key = %(cancelled)s AND source = 'orders' AND sequence = 1",
        {"I5 and took", "I1 was acknowledged and never taken"},
    ),
    Case(
        "a-cancellation-was-applied-before-its-order",
        "UPDATE inventory_stockmovement SET id = id + 1000 WHERE order_id = %(cancelled)s AND kind = 'reserve'",
        {"I5 was put back in the ledger before it was deducted"},
    ),
    Case(
        "a-stream-was-written-in-another-order-than-its-numbers",
        """
        UPDATE outbox_message SET sequence = 3
        WHERE partition_key = %(cancelled)s AND source = 'orders' AND sequence = 1
        """,
        {"I5 wrote"},
    ),
    Case(
        "two-orders-have-one-key-of-one-client",
        """
        ALTER TABLE idempotency_key DROP CONSTRAINT idempotency_key_once;
        UPDATE idempotency_key SET key = 'first'
        """,
        {"I6 orders of one key"},
    ),
    Case(
        "an-order-has-no-key",
        "DELETE FROM idempotency_key WHERE order_id = %(confirmed)s",
        {"I6 an order without a key"},
    ),
    Case(
        "a-message-still-waits-for-kafka",
        "INSERT INTO outbox_pending (outbox_id, shard) SELECT min(id), 0 FROM outbox_message",
        {"I7 is still pending"},
    ),
    Case(
        "a-message-still-waits-for-its-predecessor",
        """
        INSERT INTO parked_message
            (consumer, topic, partition, "offset", headers, message_id, source, partition_key, sequence)
        SELECT consumer, topic, partition, "offset", '[]', message_id, source, partition_key, sequence
        FROM processed_message WHERE partition_key = %(rejected)s AND consumer = 'orders'
        """,
        {"I7 is still parked at"},
    ),
    Case(
        "an-order-s-status-is-not-its-reply-s",
        """
        UPDATE outbox_message SET message_type = 'inventory.stock_rejected.v1'
        WHERE partition_key = %(confirmed)s AND source = 'inventory'
        """,
        {"I9 and its replies were"},
    ),
    Case(
        "an-order-was-decided-without-a-reply",
        "DELETE FROM outbox_message WHERE partition_key = %(rejected)s AND source = 'inventory'",
        {"I9 and its replies were", "I2 which nobody wrote"},
    ),
    Case(
        "an-order-was-decided-twice",
        """
        UPDATE outbox_message SET message_type = 'inventory.stock_reserved.v1'
        WHERE partition_key = %(cancelled)s AND source = 'inventory' AND sequence = 2
        """,
        {"I10 decisions", "I9 and its replies were"},
    ),
    Case(
        "an-order-still-waits-for-its-decision",
        "UPDATE orders_order SET status = 'pending' WHERE id = %(confirmed)s",
        {"I11 and not final"},
    ),
    Case(
        "an-order-still-waits-for-its-cancellation",
        "UPDATE orders_order SET status = 'confirmed' WHERE id = %(cancelled)s",
        {"I11 and not final"},
    ),
    Case(
        "kafka-refuses-a-message",
        """
        INSERT INTO outbox_pending (outbox_id, shard, attempts, last_error)
        SELECT min(id), 0, 1, 'MSG_SIZE_TOO_LARGE' FROM outbox_message
        """,
        {"I12 attempts:", "I7 is still pending"},
    ),
    # And what no query finds, but what the clients saw, the list of what was broken, and the log.
    Case(
        "an-order-that-was-answered-with-201-is-not-there",
        "",
        {"I1 answered with 201 and not there"},
        asked={"accepted": [str(uuid4())]},
    ),
    Case(
        "an-order-has-a-key-that-nobody-tried",
        "",
        {"I6 an order of a key that nobody tried"},
        asked={"keys": KEYS[:1]},
    ),
    Case(
        "an-adjustment-that-was-answered-is-not-in-the-ledger",
        "",
        {"I1 adjustments were answered of"},
        asked={"adjustments": (2, 2)},
    ),
    Case(
        "an-adjustment-is-in-the-ledger-that-nobody-asked-for",
        "",
        {"I2 adjustments were answered of"},
        asked={"adjustments": (0, 0)},
    ),
    Case(
        "a-record-is-set-aside-that-nobody-broke",
        DEAD_LETTER,
        {"I12 0 was broken on purpose there, dead letters:"},
    ),
    Case(
        "a-broken-record-is-not-set-aside",
        "",
        {"I12 1 was broken on purpose there, dead letters:"},
        asked={"broken": [PLACE]},
    ),
    Case(
        "a-broken-record-is-set-aside-twice",
        f"{DEAD_LETTER}; {DEAD_LETTER}",
        {"I12 1 was broken on purpose there, dead letters:"},
        asked={"broken": [PLACE]},
    ),
    Case(
        "the-log-does-not-hold-a-message-where-it-was-acknowledged",
        ELSEWHERE,
        {"I8 the log does not hold it at"},
    ),
    Case(
        "the-log-holds-a-message-with-another-payload",
        "UPDATE outbox_message SET payload = payload || ' '",
        {"I8 the log does not hold it at"},
    ),
    Case(
        "the-log-lacks-a-message-that-was-written-after-the-last-loss",
        ELSEWHERE,
        {"I8 the log does not hold it at"},
        asked={"lost_until": LOST_BEFORE_THE_HISTORY},
    ),
    Case(
        "the-log-has-lost-a-message-that-nobody-had-taken",
        f"{ELSEWHERE}; {NOT_TAKEN}",
        {"I8 the log does not hold it at", "I1 was acknowledged and never taken"},
        asked={"lost_until": LOST_AFTER_IT},
    ),
]
RIGHT = [
    Case("a-broken-record-is-set-aside-once", DEAD_LETTER, set(), asked={"broken": [PLACE]}),
    Case("a-dead-letter-is-resolved", f"{DEAD_LETTER}; UPDATE dead_letter SET resolved_at = now()", set()),
    Case("the-log-has-lost-what-was-taken", ELSEWHERE, set(), asked={"lost_until": LOST_AFTER_IT}),
]
UNREAD = "I7 the end is"
NOT_CANCELLED = "I1 its cancellation was answered with 202, and it is confirmed"
REJECTED = "I9 rejected, though there was enough in stock"
NOT_AS_ASKED = "I1 and its lines are"
WORDS = sorted({UNREAD, NOT_CANCELLED, REJECTED, NOT_AS_ASKED} | {words for case in WRONG for words in case.told})


@pytest.fixture(scope="module")
def verdicts(clean_history: History) -> Iterator[dict[str, Future[Verdict]]]:
    """The verdict on each case by its name, as soon as it is there."""

    def verdict_on(case: Case) -> Verdict:
        with copy_of(clean_history) as copy:
            copy.execute(case.sql)
            return copy.check(**case.asked)

    with ThreadPoolExecutor(AT_A_TIME) as threads:
        yield {case.name: threads.submit(verdict_on, case) for case in [*WRONG, *RIGHT]}


def told(verdict: Verdict) -> set[str]:
    """The verdict in the words of this file; in its own where this file has none."""
    return {next((words for words in WORDS if fits(words, v.invariant, v.what)), str(v)) for v in verdict.violations}


def fits(words: str, invariant: str, text: str) -> bool:
    """Whether it is of this invariant and has these words."""
    name, _, phrase = words.partition(" ")
    return name == invariant and phrase in text


class TestTheChecker:
    def test_says_nothing_of_a_clean_history(self, history: History) -> None:
        orders = [history.confirmed, history.rejected, history.cancelled]

        verdict = history.check(
            accepted=orders,
            asked={history.confirmed: {"SKU-A": 2, "SKU-B": 1}, history.rejected: {"SKU-A": 11}},
            cancelled=[history.cancelled],
            affordable=[history.confirmed, history.cancelled],
            keys=KEYS,
            adjustments=(1, 2),
            groups_at_the_end=True,
        )

        assert verdict.violations == []
        assert str(verdict) == "lost 0, extra 0, stuck 0"
        # Each order and its reply, a cancellation and its reply.
        ends = {"accepted": 3, "confirmed": 1, "rejected": 1, "ran_short": 1, "cancelled": 1}
        messages = {"written": 8, "acknowledged": 8, "in_log": 8, "taken": 8}
        assert verdict.counts.items() >= (ends | messages).items()

    @pytest.mark.parametrize("case", WRONG, ids=lambda case: case.name)
    def test_tells_what_is_wrong_and_nothing_else(self, verdicts: dict[str, Future[Verdict]], case: Case) -> None:
        assert told(verdicts[case.name].result()) == case.told

    @pytest.mark.parametrize("case", RIGHT, ids=lambda case: case.name)
    def test_says_nothing_of_what_is_meant_to_be(self, verdicts: dict[str, Future[Verdict]], case: Case) -> None:
        assert told(verdicts[case.name].result()) == set()

    def test_tells_of_an_order_that_ended_otherwise_than_its_client_could_rely_on(self, history: History) -> None:
        assert told(history.check(cancelled=[history.confirmed])) == {NOT_CANCELLED}
        assert told(history.check(affordable=[history.rejected])) == {REJECTED}

    @pytest.mark.parametrize("asked", [{"SKU-A": 1, "SKU-B": 1}, {"SKU-A": 2}, {"SKU-A": 2, "SKU-C": 1}])
    def test_tells_of_an_order_with_other_lines_than_its_client_sent(
        self, history: History, asked: dict[str, int]
    ) -> None:
        assert told(history.check(asked={history.confirmed: asked})) == {NOT_AS_ASKED}

    def test_tells_of_an_order_without_lines(self, history: History) -> None:
        history.execute("DELETE FROM orders_orderline WHERE order_id = %(rejected)s")

        assert NOT_AS_ASKED in told(history.check(asked={history.rejected: {"SKU-A": 11}}))

    def test_tells_of_a_group_that_has_not_read_the_log_to_its_end(self, history: History) -> None:
        reader = Consumer(consumer_settings("orders"))
        reader.commit(offsets=[TopicPartition(*history.place_of_the_reply())], asynchronous=False)
        reader.close()
        try:
            assert told(history.check(groups_at_the_end=True)) == {UNREAD}
        finally:
            skip_what_the_log_holds()

    def test_has_no_query_without_a_case_that_turns_it_red(self) -> None:
        red_by = [(name, sql, [words for words in WORDS if fits(words, name, sql)]) for name, sql in _SQL]

        assert [(name, sql) for name, sql, words in red_by if not words] == []
        # Words that stand in two queries would not say which of them was red.
        reached = [words for _, _, several in red_by for words in several]
        assert sorted(reached) == sorted(set(reached))

    @pytest.mark.parametrize("invariant", [f"I{number}" for number in range(1, 13)])
    def test_counts_each_invariant_once(self, invariant: str) -> None:
        verdict = Verdict([Violation(invariant, "an id", "does not hold")], {})

        assert sorted([verdict.lost, verdict.extra, verdict.stuck]) == [0, 0, 1]


class TestTheJudgesOfALongRun:
    """What `make chaos` sees while it runs; at its end the checker judges."""

    @pytest.fixture
    def watch(self, history: History) -> Watch:
        return Watch(System(Stack(Path(os.environ["DEVSERVICES_FOLDER"])), history.url))

    def test_see_nothing_in_a_clean_history(self, watch: Watch, looks: LogLooks) -> None:
        watch.look()
        looks.look()

        assert (watch.seen.unsettled, watch.seen.blamed, len(watch.seen.samples)) == ([], [], 1)
        assert (looks.missing, looks.blind, len(looks.held)) == ([], 0, 8)

    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE inventory_stockitem SET on_hand = on_hand + 1 WHERE sku = 'SKU-A'",
            "DELETE FROM inventory_stockmovement WHERE sku = 'SKU-A' AND kind = 'release'",
        ],
    )
    def test_see_stock_that_does_not_add_up(self, watch: Watch, history: History, sql: str) -> None:
        history.execute(sql)

        watch.look()

        (told,) = watch.seen.unsettled
        assert told.endswith("s: SKU-A")

    @pytest.mark.parametrize(
        "sql",
        [
            DEAD_LETTER,
            "INSERT INTO outbox_pending (outbox_id, shard, attempts) SELECT min(id), 0, 1 FROM outbox_message",
        ],
    )
    def test_see_a_message_that_is_blamed_for_a_fault(self, watch: Watch, history: History, sql: str) -> None:
        history.execute(sql)

        watch.look()

        assert len(watch.seen.blamed) == 1

    @pytest.fixture
    def looks(self, history: History, monkeypatch: pytest.MonkeyPatch) -> LogLooks:
        monkeypatch.setattr(log_looks, "NEXT_LOOK_SECONDS", 0.0)
        return LogLooks(history.url, lambda: settings.KAFKA_BOOTSTRAP_SERVERS)

    def test_see_a_message_that_the_log_lacks_before_anybody_made_it_lose_some(
        self, looks: LogLooks, history: History
    ) -> None:
        history.execute(ELSEWHERE)

        looks.look()

        assert len(looks.missing) == 8

    @pytest.mark.parametrize("sql", ["SELECT 1", NOT_TAKEN])
    def test_do_not_ask_for_what_was_made_to_vanish_nor_whether_it_was_taken(
        self, looks: LogLooks, history: History, sql: str
    ) -> None:
        history.execute(ELSEWHERE)
        history.execute(sql)
        looks.note_losses(TOPICS)

        looks.look()

        assert looks.missing == []

    def test_do_not_judge_while_a_replica_is_out_of_sync_and_say_so(
        self, looks: LogLooks, history: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log_looks, "PATIENCE_SECONDS", 1.0)
        monkeypatch.setattr(log_looks, "all_in_sync", lambda _: False)
        history.execute(ELSEWHERE)

        looks.look()

        assert (looks.missing, looks.blind) == ([], 1)

    def test_do_not_see_where_nobody_answers_and_say_so(
        self, history: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log_looks, "PATIENCE_SECONDS", 1.0)
        looks = LogLooks(history.url, lambda: "127.0.0.1:1")

        looks.look()

        assert (looks.missing, looks.blind) == ([], 1)
