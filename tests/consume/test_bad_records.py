"""Anything in the topic: what is not ours becomes exactly one dead letter, and the next one flows."""

from collections.abc import Callable, Sequence

import pytest

from inventory.models import StockItem
from messaging.envelope import Envelope, encode_headers, sha256
from messaging.models import DeadLetter, ProcessedMessage
from tests.consume.messages import TOPIC, placed
from tests.factories import StockItemFactory
from tests.flow_tools import Flow, produce_envelope, produce_raw

Headers = Sequence[tuple[str, str | bytes | None]]
Change = Callable[[Envelope], tuple[bytes | None, bytes | None, Headers]]


def raw(message: Envelope) -> tuple[bytes | None, bytes | None, Headers]:
    return message.partition_key.encode(), message.payload.encode(), encode_headers(message)


def value(data: bytes | None) -> Change:
    """The message with other bytes as its value, and the sha256 that fits them."""

    def change(message: Envelope) -> tuple[bytes | None, bytes | None, Headers]:
        key, _, headers = raw(message)
        return key, data, [(n, sha256(data or b"") if n == "ce_sha256" else v) for n, v in headers]

    return change


def key(data: bytes | None) -> Change:
    return lambda message: (data, *raw(message)[1:])


def header(name: str, data: str | bytes | None) -> Change:
    """The message with another value of one header."""

    def change(message: Envelope) -> tuple[bytes | None, bytes | None, Headers]:
        k, v, headers = raw(message)
        return k, v, [(n, data if n == name else old) for n, old in headers]

    return change


def without(name: str) -> Change:
    def change(message: Envelope) -> tuple[bytes | None, bytes | None, Headers]:
        k, v, headers = raw(message)
        return k, v, [(n, old) for n, old in headers if n != name]

    return change


def twice(name: str) -> Change:
    def change(message: Envelope) -> tuple[bytes | None, bytes | None, Headers]:
        k, v, headers = raw(message)
        return k, v, [*headers, *((n, old) for n, old in headers if n == name)]

    return change


UNREADABLE = {
    "no value": value(None),
    "empty": value(b""),
    "one byte": value(b"x"),
    "random bytes": value(bytes(range(128, 256))),
    "truncated JSON": value(b'{"order_id": "'),
    "not an object": value(b"[1, 2]"),
    "nested too deep": value(b"[" * 100_000),
    "NUL": value(b'{"order_id": "\x00"}'),
    "no key": key(None),
    "empty key": key(b""),
    "another key": key(b"somebody else"),
    "key not UTF-8": key(b"\xff\xfe"),
    "no headers": lambda message: (*raw(message)[:2], []),
    "id missing": without("ce_id"),
    "id no UUID": header("ce_id", "17"),
    "id twice": twice("ce_id"),
    "id null": header("ce_id", None),
    "type missing": without("ce_type"),
    "type too long": header("ce_type", "x" * 300),
    "sequence missing": without("ce_sequence"),
    "sequence 0": header("ce_sequence", "0"),
    "sequence negative": header("ce_sequence", "-1"),
    "sequence no number": header("ce_sequence", "one"),
    "sequence too high": header("ce_sequence", "9" * 30),
    "header not UTF-8": header("ce_type", b"\xff"),
    "header with NUL": header("ce_type", b"a\x00b"),
    "time no time": header("ce_time", "yesterday"),
    "another specversion": header("ce_specversion", "2.0"),
}


class TestARecordThatIsNotOurs:
    @pytest.mark.parametrize("change", UNREADABLE.values(), ids=UNREADABLE.keys())
    def test_becomes_one_dead_letter_and_the_next_one_flows(self, flow: Flow, change: Change) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        broken_key, broken_value, headers = change(placed(quantity=1))
        partition, _ = produce_raw(TOPIC, key=broken_key, value=broken_value, headers=headers)
        produce_envelope(TOPIC, placed(quantity=3))

        flow.consume_all("inventory")

        letter = DeadLetter.objects.get()
        assert letter.reason == DeadLetter.Reason.UNREADABLE
        assert (letter.partition, letter.value and bytes(letter.value)) == (partition, broken_value)
        assert letter.detail
        assert StockItem.objects.get(sku="SKU-A").on_hand == 7

    def test_whose_payload_was_changed_on_the_way_is_corrupt(self, flow: Flow) -> None:
        message = placed(quantity=1)
        k, v, headers = raw(message)
        produce_raw(TOPIC, key=k, value=(v or b"") + b" ", headers=headers)

        flow.consume_all("inventory")

        assert DeadLetter.objects.get().reason == DeadLetter.Reason.CORRUPT


class TestAMessageThatDoesNotFitTheSchema:
    @pytest.mark.parametrize(
        "payload",
        [
            "{}",
            '{"order_id": "no uuid", "lines": [{"sku": "SKU-A", "quantity": 1}]}',
            '{"order_id": "%s", "lines": []}',
            '{"order_id": "%s", "lines": [{"sku": "SKU-A", "quantity": 0}]}',
            '{"order_id": "%s", "lines": [{"sku": "SKU-A", "quantity": -1}]}',
            '{"order_id": "%s", "lines": [{"sku": "SKU-A", "quantity": 1.5}]}',
            '{"order_id": "%s", "lines": [{"sku": "SKU-A", "quantity": "1"}]}',
            '{"order_id": "%s", "lines": [{"sku": "SKU-A", "quantity": true}]}',
            '{"order_id": "%s", "lines": [{"sku": "SKU-A", "quantity": 9223372036854775808}]}',
            '{"order_id": "%s", "lines": [{"sku": "A\\u0000", "quantity": 1}]}',
            '{"order_id": "%s", "lines": [{"sku": "SKU-A", "quantity": 1}, {"sku": "SKU-A", "quantity": 1}]}',
            '{"order_id": "00000000-0000-0000-0000-000000000000", "lines": [{"sku": "SKU-A", "quantity": 1}]}',
        ],
    )
    def test_becomes_one_dead_letter_and_moves_no_stock(self, flow: Flow, payload: str) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        message = placed()
        broken = placed(
            order_id=None, partition_key=message.partition_key, payload=payload.replace("%s", message.partition_key)
        )
        produce_envelope(TOPIC, broken)
        produce_envelope(TOPIC, placed(quantity=3))

        flow.consume_all("inventory")

        assert DeadLetter.objects.get().reason == DeadLetter.Reason.INVALID_PAYLOAD
        assert StockItem.objects.get(sku="SKU-A").on_hand == 7
        assert ProcessedMessage.objects.count() == 2

    def test_with_a_field_that_we_do_not_know_is_handled(self, flow: Flow) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        message = placed(quantity=3)
        grown = message.payload[:-1] + ', "gift_wrap": true}'
        produce_envelope(TOPIC, placed(partition_key=message.partition_key, payload=grown))

        flow.consume_all("inventory")

        assert StockItem.objects.get(sku="SKU-A").on_hand == 7
