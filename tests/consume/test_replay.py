"""An operator's second chance for a dead letter."""

import uuid
from collections.abc import Sequence

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from inventory.models import StockItem
from messaging.consume.replay import replay
from messaging.envelope import Envelope
from messaging.errors import Poison, ReplayRefused
from messaging.models import DeadLetter, KeyPosition, ParkedMessage
from messaging.registry import Subscription
from tests.consume.messages import TOPIC, cancelled, placed
from tests.factories import StockItemFactory
from tests.flow_tools import Flow, produce_envelope, produce_raw

calls: list[list[int]] = []
broken = False


def handler_under_repair(envelopes: Sequence[Envelope]) -> None:
    """A handler that an operator mends between the failure and the replay."""
    if broken:
        raise Poison("refused", "not mended yet")
    calls.append([envelope.sequence for envelope in envelopes])


@pytest.fixture
def failed(flow: Flow, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> uuid.UUID:
    """An order whose first message failed, and whose second is parked behind it."""
    mended = Subscription("inventory", (TOPIC,), f"{__name__}.handler_under_repair")
    settings.MESSAGING_SUBSCRIPTIONS = [mended]
    calls.clear()
    order_id = uuid.uuid4()
    monkeypatch.setattr(f"{__name__}.broken", True)
    produce_envelope(TOPIC, placed(order_id=order_id))
    produce_envelope(TOPIC, cancelled(order_id))
    flow.consume_all("inventory")
    return order_id


class TestReplay:
    def test_applies_the_message_and_then_what_was_parked_behind_it(
        self, failed: uuid.UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(f"{__name__}.broken", False)

        replay(DeadLetter.objects.get().pk)

        assert calls == [[1], [2]]
        assert KeyPosition.objects.get().last_sequence == 2
        assert not ParkedMessage.objects.exists()
        assert DeadLetter.objects.get().resolved_at is not None

    def test_that_fails_again_changes_nothing(self, failed: uuid.UUID) -> None:
        with pytest.raises(ReplayRefused, match="not mended yet"):
            replay(DeadLetter.objects.get().pk)

        assert DeadLetter.objects.get().resolved_at is None
        assert ParkedMessage.objects.count() == 1

    def test_clicked_twice_is_done_once(self, failed: uuid.UUID, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(f"{__name__}.broken", False)
        replay(DeadLetter.objects.get().pk)

        with pytest.raises(ReplayRefused):
            replay(DeadLetter.objects.get().pk)

        assert calls == [[1], [2]]

    def test_of_a_record_that_cannot_be_read_is_refused(self, flow: Flow) -> None:
        produce_raw(TOPIC, key=b"k", value=b"\x00", headers=[])
        flow.consume_all("inventory")

        with pytest.raises(ReplayRefused, match="cannot be read"):
            replay(DeadLetter.objects.get().pk)

    def test_of_a_second_message_with_an_applied_sequence_is_refused(self, flow: Flow) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        order_id = uuid.uuid4()
        for quantity in (3, 4):
            produce_envelope(TOPIC, placed(order_id=order_id, quantity=quantity))
        flow.consume_all("inventory")

        with pytest.raises(ReplayRefused, match="applied"):
            replay(DeadLetter.objects.get().pk)

        assert StockItem.objects.get(sku="SKU-A").on_hand == 7

    def test_of_a_message_with_the_id_of_another_is_refused(self, flow: Flow) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        order_id = uuid.uuid4()  # one key, so one partition: the first is read first
        first = placed(order_id=order_id, quantity=3)
        produce_envelope(TOPIC, first)
        produce_envelope(TOPIC, placed(order_id=order_id, quantity=4, message_id=first.message_id))
        flow.consume_all("inventory")

        with pytest.raises(ReplayRefused, match="this id"):
            replay(DeadLetter.objects.get().pk)

        assert StockItem.objects.get(sku="SKU-A").on_hand == 7

    def test_of_a_consumer_that_was_retired_is_refused(self, failed: uuid.UUID, settings: Settings) -> None:
        settings.MESSAGING_SUBSCRIPTIONS = []

        with pytest.raises(ReplayRefused, match="no consumer"):
            replay(DeadLetter.objects.get().pk)

        assert DeadLetter.objects.get().resolved_at is None


class TestTheCommand:
    def test_says_which_dead_letter_it_could_not_replay(self, committed_db: None) -> None:
        with pytest.raises(CommandError, match="dead letter 17"):
            call_command("replay", "17", reason="mended")

    def test_with_dry_run_replays_nothing(self, failed: uuid.UUID, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(f"{__name__}.broken", False)

        call_command("replay", str(DeadLetter.objects.get().pk), reason="mended", dry_run=True)

        assert calls == []
