"""PostgreSQL goes back to an older point, Kafka does not: what is known twice, once, or not at all.

The runbook that this holds to its word is docs/restore.md.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from django.db import connection
from psycopg import sql

from inventory.models import StockItem, StockMovement
from messaging.consume.replay import replay
from messaging.models import DeadLetter, OutboxMessage, OutboxReceipt, ProcessedMessage, RepairedMessage
from messaging.produce import queue
from messaging.prove.audit import audit
from messaging.prove.repair import repair
from messaging.tasks import audit as audit_task
from orders.models import ApiClient, Order
from orders.services import cancel_order
from tests.factories import ApiClientFactory, LineFactory, StockItemFactory, place
from tests.faults.drained import check_now
from tests.flow_tools import Flow, skip_what_the_log_holds

pytestmark = pytest.mark.faults

BACKUP = "a_backup_of_the_tests"
INITIAL = 100


@dataclass(frozen=True)
class Shop:
    """The orders of both times. `last_id` is the outbox's last id before the restore: ids are given out again."""

    flow: Flow
    client: ApiClient
    decided: UUID
    unread_reply: UUID
    unread: UUID
    unpublished: UUID
    forgotten: UUID
    forgotten_unread: UUID
    last_id: int

    @property
    def known(self) -> set[UUID]:
        return {self.decided, self.unread_reply, self.unread, self.unpublished}

    def order(self) -> UUID:
        return order_of(self.client)

    def cancel(self, order_id: UUID) -> None:
        cancel_order(client_id=self.client.pk, order_id=order_id)


def order_of(client: ApiClient) -> UUID:
    return UUID(json.loads(place(LineFactory(sku="SKU-A"), client=client).answer)["id"])


def on_hand() -> int:
    return StockItem.objects.get(sku="SKU-A").on_hand


def statuses() -> dict[UUID, str]:
    return dict(Order.objects.values_list("pk", "status"))


class Backup:
    """A copy of the test's database, as a dump of that moment would be: rows and sequences."""

    def __init__(self) -> None:
        self._settings = dict(connection.settings_dict)
        self._run("DROP DATABASE IF EXISTS {backup}", "CREATE DATABASE {backup} TEMPLATE {live}")

    def restore(self) -> None:
        self._run("DROP DATABASE {live} WITH (FORCE)", "CREATE DATABASE {live} TEMPLATE {backup}")

    def drop(self) -> None:
        self._run("DROP DATABASE IF EXISTS {backup}")

    def _run(self, *statements: str) -> None:
        connection.close()
        names = {"live": sql.Identifier(self._settings["NAME"]), "backup": sql.Identifier(BACKUP)}
        with psycopg.connect(
            host=self._settings["HOST"],
            port=self._settings["PORT"],
            user=self._settings["USER"],
            password=self._settings["PASSWORD"],
            dbname="postgres",
            autocommit=True,
        ) as server:
            for statement in statements:
                server.execute(sql.SQL(statement).format(**names))  # type: ignore[arg-type]


@pytest.fixture
def restored(flow: Flow) -> Iterator[Shop]:
    """Orders in every state when the backup is made, more orders after it, and then the backup restored."""
    client = ApiClientFactory()
    StockItemFactory(sku="SKU-A", initial=INITIAL)
    decided = order_of(client)
    flow.settle_everything()
    unread_reply = order_of(client)
    flow.relay_all()
    flow.consume_all("inventory")
    flow.relay_all()
    unread = order_of(client)
    flow.relay_all()
    unpublished = order_of(client)
    backup = Backup()
    try:
        flow.settle_everything()
        forgotten = order_of(client)
        flow.settle_everything()
        forgotten_unread = order_of(client)
        cancel_order(client_id=client.pk, order_id=decided)
        flow.relay_all()
        order_of(client)  # pending: Kafka never heard of it
        last_id = OutboxMessage.objects.latest("pk").pk
        flow.close()
        backup.restore()
        yield Shop(flow, client, decided, unread_reply, unread, unpublished, forgotten, forgotten_unread, last_id)
    finally:
        backup.drop()


@pytest.fixture
def by_the_book(restored: Shop) -> Shop:
    """As docs/restore.md says: the groups to the end of the log, then the repair, then everything is started."""
    skip_what_the_log_holds()
    repair(audit().losses)
    restored.flow.settle_everything()
    return restored


class TestARestoreByTheBook:
    def test_finishes_exactly_what_the_backup_holds(self, by_the_book: Shop) -> None:
        report = audit(deep=True)

        assert statuses() == dict.fromkeys(by_the_book.known, Order.Status.CONFIRMED)
        assert on_hand() == INITIAL - 4
        assert report.as_json()["ids"] == {"lost": [], "extra": [], "stuck": [], "stock_mismatches": []}
        assert (report.parked, report.dead_letters) == (0, 0)
        verdict = check_now(accepted=[str(order_id) for order_id in by_the_book.known], groups_at_the_end=True)
        assert not verdict.violations, verdict.histories
        # Put back: what the backup holds as acknowledged and not taken, and nothing else.
        put_back = RepairedMessage.objects.values_list("consumer", "message__partition_key")
        assert set(put_back) == {("inventory", str(by_the_book.unread)), ("orders", str(by_the_book.unread_reply))}

    def test_takes_new_orders_and_cancellations_although_their_ids_were_given_out_before(
        self, by_the_book: Shop
    ) -> None:
        new = by_the_book.order()
        assert OutboxMessage.objects.get(partition_key=str(new)).pk <= by_the_book.last_id
        by_the_book.cancel(by_the_book.decided)
        by_the_book.flow.settle_everything()

        assert statuses()[new] == Order.Status.CONFIRMED
        assert statuses()[by_the_book.decided] == Order.Status.CANCELLED
        assert audit(deep=True).adds_up
        assert not DeadLetter.objects.exists()


class TestARestoreThatIsJustStarted:
    """Nobody moved the groups: what they had not read when the database went back, they read now."""

    @pytest.fixture
    def started(self, restored: Shop) -> Shop:
        restored.flow.settle_everything()
        audit_task()  # what beat does every 15 s
        restored.flow.settle_everything()
        return restored

    def test_finishes_what_the_backup_holds_and_the_audit_names_what_is_too_much(self, started: Shop) -> None:
        report = audit()

        assert statuses() == dict.fromkeys(started.known, Order.Status.CONFIRMED)
        assert report.lost == report.stuck == report.stock_mismatches == []
        # An order that orders has forgotten, and a cancellation: inventory reads both for the first time.
        reserved = f"order {started.forgotten_unread}: reserve of SKU-A is in the ledger without reason"
        released = f"order {started.decided}: release of SKU-A is in the ledger without reason"
        assert {reserved, released} <= set(report.extra)
        assert dict(DeadLetter.objects.values_list("partition_key", "reason")) == dict.fromkeys(
            (str(started.forgotten_unread), str(started.decided)), DeadLetter.Reason.REFUSED
        )
        # What was read before the restore is gone without a trace.
        assert not StockMovement.objects.filter(order_id=started.forgotten).exists()
        assert not ProcessedMessage.objects.filter(partition_key=str(started.forgotten)).exists()

    def test_cancels_once_more_by_a_replay_of_the_dead_letter(self, started: Shop) -> None:
        letter = DeadLetter.objects.get(partition_key=str(started.decided))

        started.cancel(started.decided)
        started.flow.settle_everything()
        assert statuses()[started.decided] == Order.Status.CONFIRMED
        replay(letter.pk)

        assert statuses()[started.decided] == Order.Status.CANCELLED
        again = DeadLetter.objects.get(partition_key=str(started.decided), resolved_at=None)
        assert (again.consumer, again.reason) == ("inventory", DeadLetter.Reason.SEQUENCE_CONFLICT)


class TestARelayThatLivedThroughTheRestore:
    def test_settles_a_row_that_it_never_published_and_the_repair_publishes_it(self, by_the_book: Shop) -> None:
        """Why the processes are ended first. Its outbox ids belong to other messages now."""
        new = by_the_book.order()
        row = OutboxMessage.objects.get(partition_key=str(new))
        published_before = OutboxReceipt.objects.filter(message__topic="orders.events").earliest("pk")
        queue.settle([queue.Acknowledged(row.pk, published_before.partition, published_before.offset)])
        by_the_book.flow.settle_everything()
        assert statuses()[new] == Order.Status.PENDING

        repair(audit().losses)
        by_the_book.flow.settle_everything()

        assert statuses()[new] == Order.Status.CONFIRMED
        assert audit(deep=True).adds_up
