"""Well-formed messages that nobody should have written, and ways to bring them that nobody should use."""

import uuid
from dataclasses import replace

import pytest
from confluent_kafka import Producer

from inventory.models import StockItem, StockMovement
from messaging.consume.reader import CANNOT_BE_UNPACKED, Reader
from messaging.envelope import Envelope
from messaging.models import DeadLetter, OutboxMessage, ParkedMessage, ProcessedMessage
from messaging.store.kafka import producer_settings
from orders.models import Order
from tests.consume import wire
from tests.consume.messages import TOPIC, cancelled, placed
from tests.consume.raw_records import raw, write
from tests.factories import StockItemFactory, place
from tests.flow_tools import Flow, lag, produce_envelope, produce_envelopes
from tests.orders.replies import rejected, reserved

INVENTORY = "inventory"
MEBIBYTE = 1024 * 1024


@pytest.fixture
def stocked(flow: Flow) -> Flow:
    """10 of SKU-A on hand."""
    StockItemFactory(sku="SKU-A", initial=10)
    return flow


def on_hand() -> int:
    return StockItem.objects.get(sku="SKU-A").on_hand


def replies() -> list[str]:
    return [name.removeprefix("inventory.stock_") for name in
            OutboxMessage.objects.order_by("id").values_list("message_type", flat=True)]  # fmt: skip


class TestAPackedRecord:
    def test_that_unpacks_to_a_thousand_times_its_size_is_one_dead_letter(self, stocked: Flow) -> None:
        bomb = replace(raw(placed()), value=b"\x00" * MEBIBYTE)
        write([(0, bomb)], **{"compression.type": "zstd", "message.max.bytes": 2 * MEBIBYTE})
        write([(0, raw(placed(quantity=3)))])

        stocked.consume_all(INVENTORY)

        letter = DeadLetter.objects.get()
        assert (letter.reason, len(letter.value or b"")) == (DeadLetter.Reason.UNREADABLE, MEBIBYTE)
        assert on_hand() == 7

    def test_that_unpacks_to_more_than_the_client_takes_holds_up_nobody(self, stocked: Flow) -> None:
        """4 KB on the wire, 101 MB unpacked: the client refuses it, and would ask for it for ever."""
        bomb = replace(raw(placed()), value=bytes(101_000_000))
        write([(0, raw(placed(quantity=1)))])
        [(_, offset)] = write([(0, bomb)], **{"compression.type": "zstd", "message.max.bytes": 110_000_000})
        write([(0, raw(placed(quantity=3)))])

        stocked.consume_all(INVENTORY)

        letter = DeadLetter.objects.get()
        assert (letter.reason, letter.offset, letter.value) == (DeadLetter.Reason.UNREADABLE, offset, None)
        [[name, why]] = letter.headers
        assert (name, "Decompression" in bytes.fromhex(why).decode()) == (CANNOT_BE_UNPACKED, True)
        assert on_hand() == 6


class TestARecordWithAHeaderWhoseNameNobodyCanRead:
    """No client writes one, and confluent-kafka cannot read one: written byte by byte."""

    def test_is_one_dead_letter_and_keeps_its_bytes(self, stocked: Flow) -> None:
        # Among good ones: Python calls a function in another way once it has called it often.
        write([(0, raw(placed(sku="SKU-NOBODY-HAS"))) for _ in range(60)])
        message = raw(placed())
        headers = [(name.encode(), data if data is None or isinstance(data, bytes) else data.encode())
                   for name, data in message.headers]  # fmt: skip
        names = (b"\xff\xfe", b"good\xff", b"\xed\xa0\x80")
        for name in names:
            wire.append(TOPIC, 0, key=message.key, value=message.value, headers=[(name, b"x"), *headers, (name, b"x")])
        write([(0, raw(placed(quantity=3)))])

        stocked.consume_all(INVENTORY)

        letters = list(DeadLetter.objects.values_list("reason", "value"))
        assert [(reason, bytes(data)) for reason, data in letters] == [("unreadable", message.value)] * len(names)
        assert on_hand() == 7


class TestAnAbortedTransaction:
    def test_is_never_seen(self, stocked: Flow) -> None:
        settings = producer_settings() | {"transactional.id": f"stranger-{uuid.uuid4()}"}
        producer = Producer({name: data for name, data in settings.items() if name != "delivery.timeout.ms"})
        producer.init_transactions(30)
        producer.begin_transaction()
        message = raw(placed(quantity=1))
        producer.produce(TOPIC, key=message.key, value=message.value, headers=list(message.headers), partition=0)
        assert producer.flush(30) == 0
        producer.abort_transaction(30)
        write([(0, raw(placed(quantity=3)))])

        stocked.consume_all(INVENTORY)

        assert on_hand() == 7
        assert ProcessedMessage.objects.count() == 1
        assert not DeadLetter.objects.exists()


class TestTenThousandDuplicates:
    def test_have_one_effect_and_are_counted(self, stocked: Flow) -> None:
        message = placed(quantity=3)
        produce_envelopes(TOPIC, [message] * 10_000)
        produce_envelope(TOPIC, placed(quantity=1))

        stocked.consume_all(INVENTORY)

        assert on_hand() == 6
        assert StockMovement.objects.count() == 2
        assert ProcessedMessage.objects.get(message_id=message.message_id).redeliveries == 9_999


class TestARecordThatWasBuriedAndComesAgain:
    @pytest.mark.parametrize("value", [b"not JSON", None])
    def test_is_one_dead_letter(self, stocked: Flow, monkeypatch: pytest.MonkeyPatch, value: bytes | None) -> None:
        write([(0, replace(raw(placed()), value=value))])
        with monkeypatch.context() as patch:
            # As of a consumer that dies between the two commits.
            patch.setattr(Reader, "_commit_offsets", lambda _: None)
            stocked.consume(INVENTORY, until=DeadLetter.objects.exists)
            stocked.close()
        assert lag(INVENTORY) == 1

        stocked.consume_all(INVENTORY)

        assert DeadLetter.objects.count() == 1


class TestAStreamOnTwoPartitions:
    """Somebody added partitions, or wrote with another partitioner."""

    @pytest.mark.parametrize("first", [0, 1])
    def test_is_applied_in_its_order_all_the_same(self, stocked: Flow, first: int) -> None:
        order_id = uuid.uuid4()
        both = [raw(placed(order_id=order_id, quantity=3)), raw(cancelled(order_id))]
        write([(1, both[first])])
        stocked.consume_all(INVENTORY)
        write([(2, both[1 - first])])

        stocked.consume_all(INVENTORY)

        assert replies() == ["reserved.v1", "released.v1"]
        assert on_hand() == 10
        assert not ParkedMessage.objects.exists()


class TestAnIdThatIsUsedAgain:
    @pytest.mark.parametrize(
        "changes",
        [
            {"sequence": 2},
            {"message_type": "orders.order_cancelled.v1", "sequence": 2},
            {"source": "somebody else"},
            {"payload": '{"order_id": "another"}'},
        ],
        ids=", ".join,
    )
    def test_for_another_message_is_a_dead_letter_and_no_redelivery(
        self, stocked: Flow, changes: dict[str, object]
    ) -> None:
        first = placed(quantity=3)
        produce_envelopes(TOPIC, [first, replace(first, **changes), placed(quantity=1)])

        stocked.consume_all(INVENTORY)

        assert DeadLetter.objects.get().reason == DeadLetter.Reason.ID_CONFLICT
        assert replies() == ["reserved.v1"] * 2
        assert on_hand() == 6


class TestAMessageOutOfItsTurn:
    def test_behind_a_gap_is_parked_and_has_no_effect(self, stocked: Flow) -> None:
        order_id = uuid.uuid4()
        produce_envelopes(TOPIC, [placed(order_id=order_id, quantity=3), cancelled(order_id, sequence=3)])

        stocked.consume_all(INVENTORY)

        assert ParkedMessage.objects.get().sequence == 3
        assert replies() == ["reserved.v1"]
        assert on_hand() == 7

    def test_that_is_older_than_what_was_applied_is_a_dead_letter(self, stocked: Flow) -> None:
        order_id = uuid.uuid4()
        produce_envelopes(TOPIC, [placed(order_id=order_id, quantity=3), cancelled(order_id), cancelled(order_id)])

        stocked.consume_all(INVENTORY)

        assert DeadLetter.objects.get().reason == DeadLetter.Reason.SEQUENCE_CONFLICT
        assert replies() == ["reserved.v1", "released.v1"]
        assert on_hand() == 10

    def test_that_is_far_older_than_what_was_applied_is_a_dead_letter(self, stocked: Flow) -> None:
        order_id = uuid.uuid4()  # nobody placed it: there is nothing to put back
        produce_envelopes(TOPIC, [cancelled(order_id, sequence=number) for number in (1, 2, 3, 4, 5)])
        old = cancelled(order_id, sequence=2)
        produce_envelopes(TOPIC, [old, placed(quantity=3)])

        stocked.consume_all(INVENTORY)

        letter = DeadLetter.objects.get()
        assert (letter.reason, letter.message_id) == (DeadLetter.Reason.SEQUENCE_CONFLICT, old.message_id)
        assert on_hand() == 7

    def test_of_an_order_that_nobody_placed_waits_for_it(self, stocked: Flow) -> None:
        produce_envelopes(TOPIC, [cancelled(uuid.uuid4()), placed(quantity=3)])

        stocked.consume_all(INVENTORY)

        assert ParkedMessage.objects.count() == 1
        assert replies() == ["reserved.v1"]
        assert on_hand() == 7

    def test_that_cancels_what_was_never_placed_releases_nothing(self, stocked: Flow) -> None:
        produce_envelope(TOPIC, cancelled(uuid.uuid4(), sequence=1))

        stocked.consume_all(INVENTORY)

        assert replies() == []
        assert not StockMovement.objects.exists()


class TestAnUnknownSku:
    def test_rejects_the_order_and_says_why(self, stocked: Flow) -> None:
        produce_envelopes(TOPIC, [placed(sku="SKU-NOBODY-HAS"), placed(quantity=3)])

        stocked.consume_all(INVENTORY)

        assert sorted(replies()) == ["rejected.v1", "reserved.v1"]
        assert "unknown SKU SKU-NOBODY-HAS" in OutboxMessage.objects.get(message_type__contains="rejected").payload
        assert not DeadLetter.objects.exists()
        assert on_hand() == 7


class TestASecondReply:
    """Inventory decides an order once: whoever writes a second decision is not believed."""

    @pytest.mark.parametrize("second", [reserved, rejected], ids=lambda make: make.__name__)
    def test_with_an_id_of_its_own_is_a_dead_letter(self, flow: Flow, second: type) -> None:
        place()
        order = Order.objects.get()
        again: Envelope = second(order.pk)
        produce_envelopes("inventory.events", [reserved(order.pk), again])

        flow.consume_all("orders")

        order.refresh_from_db()
        assert order.status == Order.Status.CONFIRMED
        assert DeadLetter.objects.get().reason == DeadLetter.Reason.SEQUENCE_CONFLICT

    def test_with_the_id_of_another_order_s_is_a_dead_letter_and_decides_nothing(self, flow: Flow) -> None:
        for _ in range(2):
            place()
        one, other = Order.objects.all()
        first = reserved(one.pk)
        second = replace(reserved(other.pk), message_id=first.message_id)
        # In one partition: the first is read first.
        write([(0, raw(first)), (0, raw(second))], topic="inventory.events")

        flow.consume_all("orders")

        other.refresh_from_db()
        assert other.status == Order.Status.PENDING
        assert DeadLetter.objects.get().reason == DeadLetter.Reason.ID_CONFLICT

    def test_of_the_other_topic_is_a_dead_letter(self, flow: Flow) -> None:
        produce_envelope("inventory.events", placed())

        flow.consume_all("orders")

        assert DeadLetter.objects.get().reason == DeadLetter.Reason.UNKNOWN_TYPE
