"""hypothesis drives orders, cancellations, redeliveries, inversions, failures and replays, with real commits in the
real PostgreSQL, and after every step the stock is what a model of a hundred lines says.

There is no Kafka here: a delivery is a call of the consumer's `handle`, so that hundreds of steps take seconds.
"""

import json
from collections.abc import Sequence
from typing import Any, ClassVar
from uuid import UUID

import pytest
from django.core.management import call_command
from django.test import override_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from config.books import account
from inventory import reservations
from inventory.errors import OutOfRange, StockChanged
from inventory.models import StockItem, StockMovement
from inventory.services import adjust
from messaging.consume import consumer, replay
from messaging.envelope import Envelope
from messaging.errors import Poison, ReplayRefused
from messaging.models import DeadLetter, OutboxMessage, ParkedMessage, ProcessedMessage
from messaging.registry import Subscription, subscription
from orders import replies
from orders.errors import NotCancellable
from orders.messages import Line
from orders.models import ApiClient, Order
from orders.services import cancel_order
from tests.admin.scene import record_of
from tests.factories import ApiClientFactory, StockItemFactory, place
from tests.flow_tools import envelope_of
from tests.inventory.stock_model import ConsumerModel, Message, OrdersModel, StockModel, placed_first

SKUS = ("SKU-A", "SKU-B", "SKU-C")
KINDS = {
    "orders.order_placed.v1": "placed",
    "orders.order_cancelled.v1": "cancelled",
    "inventory.stock_reserved.v1": "reserved",
    "inventory.stock_rejected.v1": "rejected",
    "inventory.stock_released.v1": "released",
}
broken: set[UUID] = set()  # the messages that the handlers cannot handle, until they are mended


def handle_orders_messages(envelopes: Sequence[Envelope]) -> None:
    """Inventory's handler, with a fault for the messages in `broken`: after its work, so that there is some to undo."""
    reservations.handle(envelopes)
    fail_for_broken(envelopes)


def handle_replies(envelopes: Sequence[Envelope]) -> None:
    """Orders' handler, the same."""
    replies.handle(envelopes)
    fail_for_broken(envelopes)


def fail_for_broken(envelopes: Sequence[Envelope]) -> None:
    if any(envelope.message_id in broken for envelope in envelopes):
        raise Poison("refused", "not mended yet")


CONSUMERS = [
    Subscription("inventory", ("orders.events",), f"{__name__}.handle_orders_messages"),
    Subscription("orders", ("inventory.events",), f"{__name__}.handle_replies"),
]


class Shop(RuleBasedStateMachine):
    """The product on one side, the model on the other."""

    client: ClassVar[ApiClient]

    @initialize(on_hand=st.tuples(*(st.integers(0, 12) for _ in SKUS)))
    def open(self, on_hand: tuple[int, ...]) -> None:
        call_command("flush", interactive=False, verbosity=0)
        broken.clear()
        self.client = ApiClientFactory()
        self.offset = 0
        self.written: list[tuple[str, Message]] = []  # every message, and the topic where it stands
        self.stock = StockModel(dict(zip(SKUS, on_hand, strict=True)))
        self.orders = OrdersModel()
        for sku, quantity in self.stock.on_hand.items():
            StockItemFactory(sku=sku, initial=quantity)
        self.models = {
            "orders.events": ConsumerModel(self.stock.apply, self._is_broken, placed_first),
            "inventory.events": ConsumerModel(self.orders.apply, self._is_broken),
        }

    # --- the steps -----------------------------------------------------------------------------------

    @rule(lines=st.dictionaries(st.sampled_from((*SKUS, "SKU-NOBODY-HAS")), st.integers(1, 6), min_size=1, max_size=3))
    def place(self, lines: dict[str, int]) -> None:
        answer = place(*(Line(sku=sku, quantity=quantity) for sku, quantity in lines.items()), client=self.client)
        order = UUID(json.loads(answer.answer)["id"])
        self.stock.lines[order] = lines
        self.orders.status[order] = "pending"
        self._note_written()

    @precondition(lambda self: self.orders.status)
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        order = data.draw(st.sampled_from(list(self.orders.status)))
        try:
            cancel_order(client_id=self.client.pk, order_id=order)
        except NotCancellable:
            assert self.orders.status[order] == "rejected"
        self._note_written()

    @precondition(lambda self: self.written)
    @rule(data=st.data())
    def deliver(self, data: Any) -> None:
        """Any messages in any order: for the first time or again, before or after their predecessors."""
        topic = data.draw(st.sampled_from(sorted({topic for topic, _ in self.written})))
        there = [message for at, message in self.written if at == topic]
        # Mostly for the first time: what was taken already has little left to show.
        new = [message for message in there if message.message_id not in self.models[topic].taken]
        some = st.sampled_from(new or there) | st.sampled_from(there)
        self._deliver(topic, data.draw(st.lists(some, min_size=1, max_size=4)))

    @precondition(lambda self: self.written)
    @rule()
    def deliver_everything_from_the_start(self) -> None:
        for topic in self.models:
            self._deliver(topic, [message for at, message in self.written if at == topic])

    @precondition(lambda self: self.written)
    @rule(data=st.data())
    def deliver_what_cannot_be_handled(self, data: Any) -> None:
        """Among others. It stays so until it is mended."""
        coming = [(at, message) for at, message in self.written if message.message_id not in self.models[at].taken]
        topic, message = data.draw(st.sampled_from(coming or self.written))
        there = [other for at, other in self.written if at == topic]
        broken.add(message.message_id)
        self._deliver(topic, [*data.draw(st.lists(st.sampled_from(there), max_size=2)), message])

    @precondition(lambda self: broken)
    @rule()
    def mend_the_handling(self) -> None:
        broken.clear()

    @precondition(lambda self: any(model.dead for model in self.models.values()))
    @rule(data=st.data())
    def replay_a_dead_letter(self, data: Any) -> None:
        dead = [(model, message) for model in self.models.values() for message in model.dead.values()]
        self._replay(*data.draw(st.sampled_from(dead)))

    @rule(sku=st.sampled_from(SKUS), quantity=st.integers(-6, 6).filter(bool), too_late=st.booleans())
    def count_by_hand(self, sku: str, quantity: int, too_late: bool) -> None:
        version = StockItem.objects.get(sku=sku).version - too_late
        if too_late:
            with pytest.raises(StockChanged):
                adjust(sku=sku, quantity=quantity, seen_version=version)
        elif self.stock.adjust(sku, quantity):
            adjust(sku=sku, quantity=quantity, seen_version=version)
        else:
            with pytest.raises(OutOfRange):
                adjust(sku=sku, quantity=quantity, seen_version=version)

    # --- what must hold after each -------------------------------------------------------------------

    @invariant()
    def the_stock_is_the_model_s_and_never_negative(self) -> None:
        on_hand = dict(StockItem.objects.values_list("sku", "on_hand"))
        assert on_hand == self.stock.on_hand
        assert all(quantity >= 0 for quantity in on_hand.values())

    @invariant()
    def the_ledger_has_one_row_for_each_effect(self) -> None:
        rows = StockMovement.objects.exclude(order_id=None).values_list("order_id", "item_id", "kind", "quantity")
        assert sorted(rows) == sorted((*key, quantity) for key, quantity in self.stock.ledger.items())
        assert account(None).stock_mismatches == []

    @invariant()
    def every_order_is_told_once_and_moves_as_it_is_told(self) -> None:
        told = OutboxMessage.objects.filter(source="inventory").values_list("partition_key", "message_type")
        expected = [(str(order), f"inventory.stock_{kind}.v1") for order, kind in self.stock.replies]
        assert sorted(told) == sorted(expected)
        assert dict(Order.objects.values_list("pk", "status")) == self.orders.status

    @invariant()
    def what_waits_is_what_must_wait(self) -> None:
        for topic, name in (("orders.events", "inventory"), ("inventory.events", "orders")):
            model = self.models[topic]
            assert self._ids(ProcessedMessage.objects.filter(consumer=name)) == model.taken
            assert self._ids(ParkedMessage.objects.filter(consumer=name)) == {
                message.message_id for message in model.parked.values()
            }
            assert self._ids(DeadLetter.objects.filter(consumer=name, resolved_at=None)) == set(model.dead)

    def teardown(self) -> None:
        """Mend, replay and deliver everything: then every order is final, and the books are in order."""
        broken.clear()
        for _ in range(4):  # there and back, for the order and for its cancellation
            for model in self.models.values():
                for message in list(model.dead.values()):
                    self._replay(model, message)
            self.deliver_everything_from_the_start()
        books = account(None)
        assert (books.lost, books.extra, books.stuck, books.stock_mismatches) == ([], [], [], [])

    # --- between the two -------------------------------------------------------------------------------

    @staticmethod
    def _is_broken(message: Message) -> bool:
        return message.message_id in broken

    @staticmethod
    def _ids(rows: Any) -> set[UUID]:
        return set(rows.values_list("message_id", flat=True))

    def _note_written(self) -> None:
        known = {message.message_id for _, message in self.written}
        for row in OutboxMessage.objects.order_by("pk"):
            if row.message_id not in known:
                message = Message(row.message_id, UUID(row.partition_key), row.sequence, KINDS[row.message_type])
                self.written.append((row.topic, message))

    def _deliver(self, topic: str, messages: list[Message]) -> None:
        name = {"orders.events": "inventory", "inventory.events": "orders"}[topic]
        records = []
        for message in messages:
            self.offset += 1
            records.append(record_of(envelope_of(message.message_id), topic=topic, offset=self.offset))
        consumer.apply_or_bury(subscription(name), records)
        self.models[topic].deliver(messages)
        self._note_written()

    def _replay(self, model: ConsumerModel, message: Message) -> None:
        letter = DeadLetter.objects.get(message_id=message.message_id, resolved_at=None)
        if model.replay(message):
            replay.replay(letter.pk)
        else:
            with pytest.raises(ReplayRefused, match="not mended yet"):
                replay.replay(letter.pk)
        self._note_written()


class TestTheStock:
    def test_is_the_model_s_whatever_is_ordered_cancelled_redelivered_reordered_broken_and_replayed(
        self, committed_db: None
    ) -> None:
        with override_settings(MESSAGING_SUBSCRIPTIONS=CONSUMERS):
            run_state_machine_as_test(
                Shop,
                settings=settings(
                    max_examples=30,
                    stateful_step_count=25,
                    deadline=None,
                    print_blob=True,
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
                ),
            )
