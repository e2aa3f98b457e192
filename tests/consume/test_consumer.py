"""The consumer: one effect a message, whatever is delivered twice, early, or broken."""

import signal
import uuid
from collections.abc import Sequence

import pytest
from django.db import connection
from pytest_django import Settings

from inventory.models import StockItem, StockMovement
from messaging.consume import consumer
from messaging.envelope import Envelope
from messaging.errors import BatchPostponed
from messaging.models import DeadLetter, KeyPosition, OutboxMessage, ParkedMessage, ProcessedMessage
from messaging.registry import Subscription, subscription
from tests.consume.messages import TOPIC, cancelled, placed
from tests.factories import StockItemFactory
from tests.flow_tools import Flow, lag, produce_envelope, produce_envelopes, wait_until
from tests.process_tools import Processes

INVENTORY = "inventory"
applied: list[int] = []


def note_sequences(envelopes: Sequence[Envelope]) -> None:
    """A handler that only notes in which order it was called."""
    applied.extend(envelope.sequence for envelope in envelopes)


def on_hand(sku: str = "SKU-A") -> int:
    return StockItem.objects.get(sku=sku).on_hand


class TestARedelivery:
    def test_has_no_second_effect_and_is_counted(self, flow: Flow) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        message = placed(quantity=3)
        for _ in range(4):
            produce_envelope(TOPIC, message)

        flow.consume_all(INVENTORY)

        assert on_hand() == 7
        assert StockMovement.objects.count() == 1
        assert ProcessedMessage.objects.get().redeliveries == 3

    def test_after_a_crash_between_the_two_commits_is_absorbed(self, flow: Flow) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        produce_envelope(TOPIC, placed(quantity=3))
        declared, reader = subscription(INVENTORY), flow.reader(INVENTORY)
        wait_until(
            lambda: bool(records := reader.next_batch(1)) and consumer.apply_or_bury(declared, records) is None,
            what="a batch was handled, and its offsets not committed",
        )
        flow.close()

        flow.consume_all(INVENTORY)

        assert on_hand() == 7
        assert ProcessedMessage.objects.get().redeliveries == 1

    def test_with_another_payload_under_the_same_id_is_a_dead_letter_and_no_duplicate(self, flow: Flow) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        order_id = uuid.uuid4()  # one key, so one partition: the first is read first
        first = placed(order_id=order_id, quantity=3)
        produce_envelope(TOPIC, first)
        produce_envelope(TOPIC, placed(order_id=order_id, quantity=4, message_id=first.message_id))

        flow.consume_all(INVENTORY)

        assert DeadLetter.objects.get().reason == DeadLetter.Reason.ID_CONFLICT
        assert on_hand() == 7

    def test_is_refused_by_the_ledger_even_when_the_inbox_was_emptied(self, flow: Flow) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        message = placed(quantity=3)
        produce_envelope(TOPIC, message)
        flow.consume_all(INVENTORY)
        ProcessedMessage.objects.all().delete()
        KeyPosition.objects.all().delete()
        OutboxMessage.objects.filter(source="inventory").update(sequence=9)
        produce_envelope(TOPIC, message)

        flow.consume_all(INVENTORY)

        assert on_hand() == 7
        assert StockMovement.objects.count() == 1


class TestTheOrderOfAKey:
    def test_parks_an_early_message_until_its_predecessor_comes(self, flow: Flow) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        order_id = uuid.uuid4()
        produce_envelope(TOPIC, cancelled(order_id))
        flow.consume_all(INVENTORY)
        assert ParkedMessage.objects.count() == 1
        assert on_hand() == 10

        produce_envelope(TOPIC, placed(order_id=order_id, quantity=3))
        flow.consume_all(INVENTORY)

        assert ParkedMessage.objects.count() == 0
        assert list(StockMovement.objects.order_by("id").values_list("kind", flat=True)) == ["reserve", "release"]
        assert on_hand() == 10

    def test_applies_a_whole_row_of_parked_messages(self, flow: Flow, settings: Settings) -> None:
        applied.clear()
        settings.MESSAGING_SUBSCRIPTIONS = [Subscription(INVENTORY, (TOPIC,), f"{__name__}.note_sequences")]
        order_id = uuid.uuid4()
        count = 1200  # more than Python's recursion would bear
        produce_envelopes(TOPIC, [cancelled(order_id, sequence=n) for n in range(count, 1, -1)])
        flow.consume_all(INVENTORY)
        assert ParkedMessage.objects.count() == count - 1

        produce_envelope(TOPIC, placed(order_id=order_id))
        flow.consume_all(INVENTORY)

        assert applied == list(range(1, count + 1))
        assert not ParkedMessage.objects.exists()
        assert not DeadLetter.objects.exists()

    def test_applies_one_of_two_that_were_parked_with_one_sequence(self, flow: Flow) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        order_id = uuid.uuid4()
        produce_envelopes(TOPIC, [cancelled(order_id), cancelled(order_id)])
        produce_envelope(TOPIC, placed(order_id=order_id, quantity=3))

        flow.consume_all(INVENTORY)

        assert DeadLetter.objects.get().reason == DeadLetter.Reason.SEQUENCE_CONFLICT
        assert StockMovement.objects.count() == 2
        assert on_hand() == 10

    def test_keeps_a_second_message_with_an_applied_sequence_as_a_dead_letter(self, flow: Flow) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        order_id = uuid.uuid4()
        produce_envelope(TOPIC, placed(order_id=order_id, quantity=3))
        produce_envelope(TOPIC, placed(order_id=order_id, quantity=4))

        flow.consume_all(INVENTORY)

        assert DeadLetter.objects.get().reason == DeadLetter.Reason.SEQUENCE_CONFLICT
        assert on_hand() == 7


class TestAMessageThatFails:
    def test_leaves_its_neighbours_in_the_batch_unharmed(self, flow: Flow) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        produce_envelope(TOPIC, placed(quantity=1))
        produce_envelope(TOPIC, placed(message_type="orders.order_placed.v999"))
        produce_envelope(TOPIC, placed(quantity=2))

        flow.consume_all(INVENTORY)

        assert DeadLetter.objects.get().reason == DeadLetter.Reason.UNKNOWN_TYPE
        assert on_hand() == 7

    def test_makes_its_own_stream_wait_and_no_other(self, flow: Flow) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        order_id = uuid.uuid4()
        produce_envelope(TOPIC, placed(order_id=order_id, message_type="orders.order_placed.v999"))
        produce_envelope(TOPIC, cancelled(order_id))
        produce_envelope(TOPIC, placed(quantity=2))

        flow.consume_all(INVENTORY)

        assert ParkedMessage.objects.get().partition_key == str(order_id)
        assert on_hand() == 8


class TestTroubleWithTheDatabase:
    def test_is_waited_out_and_makes_no_dead_letter(self, flow: Flow) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        produce_envelope(TOPIC, placed(quantity=3))
        declared, reader = subscription(INVENTORY), flow.reader(INVENTORY)
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE processed_message RENAME TO processed_message_away")
        try:
            with pytest.raises(BatchPostponed):
                wait_until(lambda: consumer.run_once(declared, reader, rest=0.1), what="a batch failed")
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE processed_message_away RENAME TO processed_message")

        flow.consume_all(INVENTORY)

        assert not DeadLetter.objects.exists()
        assert on_hand() == 7

    def test_a_process_whose_connection_is_cut_again_and_again_goes_on(self, processes: Processes) -> None:
        StockItemFactory(sku="SKU-A", initial=1000)
        process = processes.manage("consume", INVENTORY, ROLE="cut-me", LOG_LEVEL="INFO")
        processes.wait_for_output(process, "partitions assigned")

        for _ in range(5):
            produce_envelopes(TOPIC, [placed(quantity=1) for _ in range(20)])
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut-me'"
                )

        wait_until(lambda: on_hand() == 900, what="all 100 orders were deducted")
        assert StockMovement.objects.count() == 100
        assert not DeadLetter.objects.exists()
        assert process.poll() is None


class TestAConsumerProcess:
    def test_killed_at_any_moment_deducts_each_order_once(self, processes: Processes) -> None:
        StockItemFactory(sku="SKU-A", initial=1000)
        process = processes.manage("consume", INVENTORY, LOG_LEVEL="INFO")
        processes.wait_for_output(process, "partitions assigned")

        for _ in range(2):
            produce_envelopes(TOPIC, [placed(quantity=1) for _ in range(60)])
            process.kill()
            process = processes.manage("consume", INVENTORY, LOG_LEVEL="INFO")
            processes.wait_for_output(process, "partitions assigned")

        wait_until(lambda: on_hand() == 880, what="all 120 orders were deducted")
        assert StockMovement.objects.count() == 120

    def test_told_to_stop_finishes_its_batch_and_commits_it(self, processes: Processes) -> None:
        StockItemFactory(sku="SKU-A", initial=1000)
        process = processes.manage("consume", INVENTORY, LOG_LEVEL="INFO")
        processes.wait_for_output(process, "partitions assigned")
        produce_envelopes(TOPIC, [placed(quantity=1) for _ in range(50)])
        wait_until(lambda: on_hand() < 1000, what="the first batch was committed")

        process.send_signal(signal.SIGTERM)

        assert process.wait(60) == 0
        taken = ProcessedMessage.objects.count()
        assert lag(INVENTORY) == 50 - taken

    def test_that_joins_takes_its_share_and_nothing_is_done_twice(self, processes: Processes) -> None:
        StockItemFactory(sku="SKU-A", initial=1000)
        first = processes.manage("consume", INVENTORY, LOG_LEVEL="INFO")
        processes.wait_for_output(first, "partitions assigned")
        produce_envelopes(TOPIC, [placed(quantity=1) for _ in range(40)])

        second = processes.manage("consume", INVENTORY, LOG_LEVEL="INFO")
        processes.wait_for_output(first, "partitions revoked")
        processes.wait_for_output(second, "partitions assigned")
        produce_envelopes(TOPIC, [placed(quantity=1) for _ in range(40)])

        wait_until(lambda: on_hand() == 920, what="all 80 orders were deducted")
        assert StockMovement.objects.count() == 80
