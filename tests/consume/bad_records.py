"""The catalogue of what may stand in the topic instead of a good message: name → how an order's message is changed."""

from dataclasses import replace

from messaging.envelope import Envelope
from tests.consume.raw_records import Change, Raw, also, header, key, payload, raw, stamped, twice, value, without

REQUIRED = (
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_time",
    "ce_subject",
    "ce_sequence",
    "ce_sha256",
)

BROKEN_HEADERS: dict[str, Change] = {
    f"{name} {what}": change
    for name in REQUIRED
    for what, change in (
        ("missing", without(name)),
        ("empty", header(name, "")),
        ("null", header(name, None)),
        ("twice", twice(name)),
        ("not UTF-8", header(name, b"\xff\xfe")),
        ("with NUL", header(name, b"a\x00b")),
    )
}

UNREADABLE: dict[str, Change] = {
    **BROKEN_HEADERS,
    "no value": value(None),
    "empty": value(b""),
    "one byte": value(b"x"),
    "random bytes": value(bytes(range(128, 256))),
    "truncated JSON": value(b'{"order_id": "'),
    "not an object": value(b"[1, 2]"),
    "null": value(b"null"),
    "nested too deep": value(b"[" * 100_000),
    "an integer of 5,000 digits": payload('{"order_id": ' + "9" * 5_000 + "}"),
    "a name twice": payload('{"order_id": "%id", "order_id": "%id"}'),
    "a name twice, deep inside": payload(
        '{"order_id": "%id", "lines": [{"sku": "%sku", "quantity": 1, "quantity": 99}]}'
    ),
    "a name twice, in what we do not know": payload('{"order_id": "%id", "gift": {"wrap": true, "wrap": false}}'),
    "byte order mark": value(b"\xef\xbb\xbf{}"),
    "UTF-16": value("{}".encode("utf-16")),
    "NUL": value(b'{"order_id": "\x00"}'),
    "1,047,000 bytes": value(b"\xff" * 1_047_000),
    "no key": key(None),
    "empty key": key(b""),
    "another key": key(b"somebody else"),
    "key not UTF-8": key(b"\xff\xfe"),
    "key with NUL": key(b"a\x00b"),
    "no headers": lambda message: replace(raw(message), headers=[]),
    "id no UUID": header("ce_id", "17"),
    "type too long": header("ce_type", "x" * 300),
    "sequence 0": header("ce_sequence", "0"),
    "sequence negative": header("ce_sequence", "-1"),
    "sequence a fraction": header("ce_sequence", "1.0"),
    "sequence no number": header("ce_sequence", "one"),
    "sequence too high": header("ce_sequence", "9" * 30),
    "time no time": header("ce_time", "yesterday"),
    "time before year 1": header("ce_time", "0001-01-01T00:00:00+14:00"),
    "time after year 9999": header("ce_time", "9999-12-31T23:59:59-14:00"),
    "another specversion": header("ce_specversion", "2.0"),
}

CORRUPT: dict[str, Change] = {
    "a byte more": lambda message: replace(raw(message), value=message.payload.encode() + b" "),
    "another sha256": header("ce_sha256", "0" * 64),
}

UNKNOWN_TYPE: dict[str, Change] = {
    "version 0": header("ce_type", "orders.order_placed.v0"),
    "version -1": header("ce_type", "orders.order_placed.v-1"),
    "version 999": header("ce_type", "orders.order_placed.v999"),
    "version of words": header("ce_type", 'orders.order_placed."1"'),
    "no version": header("ce_type", "orders.order_placed"),
    "capital letters": header("ce_type", "Orders.Order_Placed.V1"),
    "another topic's": header("ce_type", "inventory.stock_reserved.v1"),
    "markup": header("ce_type", "<script>alert(1)</script>"),
}


def line(*, sku: str = "%sku", quantity: str = "1") -> str:
    return '{"sku": "' + sku + '", "quantity": ' + quantity + "}"


def order(*lines: str, order_id: str = "%id", more: str = "") -> Change:
    """An order's JSON, put together as text, for what no JSON writer would write."""
    return payload('{"order_id": "' + order_id + '", "lines": [' + ", ".join(lines) + "]" + more + "}")


def filled(size: int) -> Change:
    """An order of so many bytes."""

    def change(message: Envelope) -> Raw:
        empty = len(order(line(), more=', "filler": ""')(message).value or b"")
        return order(line(), more=f', "filler": "{"x" * (size - empty)}"')(message)

    return change


QUANTITIES = (
    "0",
    "-1",
    "1.5",
    "1e3",
    "-0",
    '"1"',
    "true",
    "null",
    "1000001",
    "2147483648",
    "9223372036854775808",
    "NaN",
    "Infinity",
)

INVALID_PAYLOAD: dict[str, Change] = {
    "nothing": payload("{}"),
    "order_id no UUID": order(line(), order_id="no uuid"),
    "order_id of another key": order(line(), order_id="00000000-0000-0000-0000-000000000000"),
    "order_id with NUL": order(line(), order_id=r"%id\u0000"),
    "no lines": order(),
    "lines null": payload('{"order_id": "%id", "lines": null}'),
    "101 lines": order(*(line(sku=f"S{number}") for number in range(101))),
    "the same SKU twice": order(line(), line()),
    "SKU empty": order(line(sku="")),
    "SKU too long": order(line(sku="x" * 65)),
    "SKU with NUL": order(line(sku=r"%sku\u0000")),
    "SKU half a surrogate pair": order(line(sku=r"\ud800")),
    **{f"quantity {quantity}": order(line(quantity=quantity)) for quantity in QUANTITIES},
}

# Odd, and good all the same: names and headers that we do not know cannot make a message unreadable.
GOOD_ALL_THE_SAME: dict[str, Change] = {
    "unchanged": raw,
    "ce_time in year 1": header("ce_time", "0001-01-01T00:00:00Z"),
    "ce_time in year 9999": header("ce_time", "9999-12-31T23:59:59Z"),
    "ce_time without a zone": header("ce_time", "2026-10-25T01:30:00"),
    "Kafka's time in 1970": stamped(1),
    "Kafka's time in 2001": stamped(1_000_000_000_000),
    "Kafka's time in 9999": stamped(253_402_300_799_000),
    "a field that we do not know": order(line(), more=', "gift_wrap": true'),
    "999,999 bytes": filled(999_999),
    "headers that we do not know": also(("x-tenant", None), ("x-tenant", b"\xff"), ("ce_dataschema", b"\x00")),
    "traceparent twice": also(("traceparent", "x"), ("traceparent", "y")),
    "traceparent not text": also(("traceparent", b"\xff\x00")),
    "traceparent too long": also(("traceparent", "0" * 500)),
}
