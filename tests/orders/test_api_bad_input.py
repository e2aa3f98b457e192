"""Each bad input is refused with its status and its code, and no row is written."""

import gzip
import io
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from tests.api_tools import ONE_LINE, Caller, problem_of, rows_written

GOOD = json.dumps(ONE_LINE)


def line(**changed: Any) -> str:
    """A body whose one line is wrong."""
    return json.dumps({"lines": [{"sku": "A", "quantity": 1} | changed]})


def raw(quantity: str, sku: str = '"A"') -> str:
    """A body with this JSON, which json.dumps would not write, as a value."""
    return f'{{"lines":[{{"sku":{sku},"quantity":{quantity}}}]}}'


MALFORMED = {
    "text": "hello",
    "truncated": GOOD[:-1],
    "two documents": GOOD + GOOD,
    "a trailing comma": '{"lines":[{"sku":"A","quantity":1},]}',
    "a key twice": '{"lines":[{"sku":"A","quantity":1,"quantity":99}]}',
    "lines twice": '{"lines":[{"sku":"A","quantity":1}],"lines":[{"sku":"B","quantity":1}]}',
    "an escaped key twice": '{"lines":[{"sku":"A","quantity":1,"\\u0073ku":"B"}]}',
    "NaN": raw("NaN"),
    "Infinity": raw("Infinity"),
    "-Infinity": raw("-Infinity"),
    "an integer of 5,000 digits": raw("9" * 5_000),
    "a leading zero": raw("01"),
    "hexadecimal": raw("0x1"),
    "a nesting 10,000 deep": "[" * 10_000 + "]" * 10_000,
    "objects 10,000 deep": '{"lines":' * 5_000 + "1" + "}" * 5_000,
    "a nesting without end": "[" * 60_000,
    "half a surrogate pair as a SKU": raw("1", sku='"\\ud800"'),
    "half a surrogate pair as a key": '{"\\udfff":1,"lines":[{"sku":"A","quantity":1}]}',
    "a bare NUL": raw("1", sku='"A\x00"'),
    "a bare line feed": raw("1", sku='"A\n"'),
    "comments": GOOD + "// as ever",
    "a byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "UTF-16": GOOD.encode("utf-16"),
    "UTF-16 without mark": GOOD.encode("utf-16-le"),
    "UTF-32": GOOD.encode("utf-32"),
    "broken UTF-8": GOOD.encode().replace(b"SKU", b"\xff\xfe\x80"),
    "overlong UTF-8": GOOD.encode().replace(b"SKU", b"\xc0\x80"),
    "surrogates in UTF-8": GOOD.encode().replace(b"SKU", b"\xed\xa0\x80"),
    "only spaces": "   ",
}

UNFIT = {
    "null": "null",
    "a list": "[]",
    "a number": "1",
    "a string": '"lines"',
    "true": "true",
    "an empty object": "{}",
    "lines null": '{"lines":null}',
    "lines an object": '{"lines":{}}',
    "lines a string": '{"lines":"A"}',
    "no line": '{"lines":[]}',
    "101 lines": json.dumps({"lines": [{"sku": f"S{n}", "quantity": 1} for n in range(101)]}),
    "1,500 lines": json.dumps({"lines": [{"sku": f"S{n}", "quantity": 1} for n in range(1_500)]}),
    "a line null": '{"lines":[null]}',
    "a line a list": '{"lines":[["A",1]]}',
    "a line without SKU": '{"lines":[{"quantity":1}]}',
    "a line without quantity": '{"lines":[{"sku":"A"}]}',
    "an unknown field beside lines": json.dumps(ONE_LINE | {"id": "1"}),
    "an unknown field in a line": line(price=1),
    "a deep value in an unknown field": line(deep=json.loads("[" * 400 + "]" * 400)),
    "a field in other capitals": '{"Lines":[{"sku":"A","quantity":1}]}',
    "the same SKU twice": '{"lines":[{"sku":"A","quantity":1},{"sku":"A","quantity":2}]}',
    "quantity 0": line(quantity=0),
    "quantity -0": raw("-0"),
    "quantity -0.0": raw("-0.0"),
    "quantity -1": line(quantity=-1),
    "quantity 1.5": line(quantity=1.5),
    "quantity 1.0": raw("1.0"),
    "quantity 1e3": raw("1e3"),
    "quantity 1e999": raw("1e999"),
    "quantity as text": line(quantity="1"),
    "quantity true": line(quantity=True),
    "quantity null": line(quantity=None),
    "quantity a list": line(quantity=[1]),
    "quantity 1,000,001": line(quantity=1_000_001),
    "quantity 2^31": line(quantity=2**31),
    "quantity 2^63 - 1": line(quantity=2**63 - 1),
    "quantity of 4,000 digits": raw("9" * 4_000),
    "SKU empty": line(sku=""),
    "SKU null": line(sku=None),
    "SKU a number": line(sku=1),
    "SKU of 65 characters": line(sku="S" * 65),
    "SKU of 10,000 characters": line(sku="S" * 10_000),
    "SKU with NUL": line(sku="A\x00"),
    "SKU with a leading space": line(sku=" A"),
    "SKU with a trailing space": line(sku="A "),
    "SKU with a trailing line feed": line(sku="A\n"),
    "SKU with a leading point": line(sku=".A"),
    "SKU with a slash": line(sku="A/B"),
    "SKU composed": line(sku="caf\u00e9"),
    "SKU decomposed": line(sku="cafe\u0301"),
    "SKU right to left": line(sku="A\u202eB"),
    "SKU of full-width digits": line(sku="\uff11"),
    "SKU an emoji": line(sku="\U0001f600"),
    "SKU an escaped emoji": raw("1", sku='"\\ud83d\\ude00"'),
    "SKU of SQL": line(sku="A'; DROP TABLE orders_order;--"),
    "SKU of HTML": line(sku="<script>alert(1)</script>"),
    "SKU of a template": line(sku="{{7*7}}"),
    "SKU of a format": line(sku="%s{0}"),
}

KEYS = {
    "empty": "",
    "a space": " ",
    "with a space": "a b",
    "a leading space": " a",
    "a tab": "a\tb",
    "not ASCII": "schlüssel",
    "not Latin-1": "キー",
    "DEL": "a\x7f",
    "NUL": "a\x00",
    "256 characters": "k" * 256,
    "10 KiB": "k" * 10_240,
}

AUTHORIZATIONS = {
    "empty": "",
    "no scheme": "{token}",
    "another scheme": "Basic {token}",
    "a scheme without token": "Bearer",
    "an empty token": "Bearer ",
    "two tokens": "Bearer {token} {token}",
    "two spaces": "Bearer  {token}",
    "half the token": "Bearer {half}",
    "not ASCII": "Bearer tökén",
    "not Latin-1": "Bearer トークン",
    "NUL": "Bearer {token}\x00",
    "10 KiB": "Bearer " + "t" * 10_240,
    "SQL": "Bearer ' OR 1=1 --",
}

OPERATIONS = [
    ("POST", "/api/orders"),
    ("GET", "/api/orders"),
    ("GET", f"/api/orders/{uuid.uuid4()}"),
    ("POST", f"/api/orders/{uuid.uuid4()}/cancel"),
    ("GET", "/api/stock"),
]


class BrokenOff(io.BytesIO):
    """What a server hands on when the client goes away in the middle of the body."""

    def read(self, size: int | None = -1) -> bytes:
        raise ConnectionResetError("gone")


def named(cases: dict[str, Any]) -> list[Any]:
    return [pytest.param(value, id=name) for name, value in cases.items()]


@pytest.fixture
def caller(db: None) -> Caller:
    """A client in a transaction that is rolled back: quick, and what must not be written is seen in it."""
    return Caller()


@pytest.fixture(autouse=True)
def no_row_is_written(db: None) -> Iterator[None]:
    yield
    assert rows_written() == {}


class TestABody:
    @pytest.mark.parametrize("body", named(MALFORMED))
    def test_that_is_no_strict_json_is_refused(self, caller: Caller, body: str | bytes) -> None:
        response = caller.post("/api/orders", body, headers={"Idempotency-Key": "k"})

        assert problem_of(response) == (400, "malformed-json")

    @pytest.mark.parametrize("body", named(UNFIT))
    def test_that_does_not_fit_the_schema_is_refused(self, caller: Caller, body: str) -> None:
        response = caller.post("/api/orders", body, headers={"Idempotency-Key": "k"})

        assert problem_of(response) == (422, "invalid")

    def test_that_is_missing_is_asked_for(self, caller: Caller) -> None:
        response = caller.post("/api/orders", "", headers={"Idempotency-Key": "k"})

        assert problem_of(response) == (400, "body-missing")

    @pytest.mark.parametrize("size", [64 * 1024 + 1, 10_000_000])
    def test_of_more_than_64_kib_is_refused(self, caller: Caller, size: int) -> None:
        response = caller.post("/api/orders", GOOD.ljust(size), headers={"Idempotency-Key": "k"})

        assert problem_of(response) == (413, "body-too-large")

    @pytest.mark.parametrize(
        "content_type",
        [
            "",
            "text/plain",
            "text/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/json; charset=utf-16",
            "application/jsonp",
            "json",
            "application/json, text/plain",
        ],
    )
    def test_of_another_type_is_refused(self, caller: Caller, content_type: str) -> None:
        response = caller.post("/api/orders", GOOD, content_type=content_type, headers={"Idempotency-Key": "k"})

        assert problem_of(response) == (415, "not-json")

    def test_that_is_compressed_is_refused_and_not_unpacked(self, caller: Caller) -> None:
        bomb = gzip.compress(b" " * 10_000_000)

        response = caller.post("/api/orders", bomb, headers={"Idempotency-Key": "k", "Content-Encoding": "gzip"})

        assert problem_of(response) == (415, "encoded-body")

    def test_that_breaks_off_is_refused(self, caller: Caller) -> None:
        headers = caller.authorization | {"Idempotency-Key": "k"}

        response = Client().generic(
            "POST", "/api/orders", GOOD, "application/json", headers=headers, **{"wsgi.input": BrokenOff()}
        )

        assert problem_of(response) == (400, "body-incomplete")

    def test_names_the_place_of_what_is_wrong_as_the_client_knows_it(self, caller: Caller) -> None:
        response = caller.place({"lines": [{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": 0}]})

        detail = json.loads(response.content)["detail"]
        assert detail == "lines.1.quantity: Input should be greater than or equal to 1. See /api/docs."


class TestAnIdempotencyKey:
    def test_that_is_missing_is_asked_for(self, caller: Caller) -> None:
        response = caller.post("/api/orders", GOOD)

        assert problem_of(response) == (400, "idempotency-key-missing")

    @pytest.mark.parametrize("key", named(KEYS))
    def test_that_is_malformed_is_refused(self, caller: Caller, key: str) -> None:
        response = caller.post("/api/orders", GOOD, headers={"Idempotency-Key": key})

        assert problem_of(response) == (400, "idempotency-key-missing")


class TestAToken:
    @pytest.mark.parametrize(("method", "path"), OPERATIONS)
    def test_is_needed_for_every_operation(self, method: str, path: str) -> None:
        response = Client().generic(method, path, GOOD, content_type="application/json")

        assert problem_of(response) == (401, "unauthenticated")
        assert response["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize("value", named(AUTHORIZATIONS))
    def test_that_is_wrong_is_refused(self, caller: Caller, value: str) -> None:
        value = value.format(token=caller.token, half=caller.token[:16])

        response = caller.post("/api/orders", GOOD, headers={"Idempotency-Key": "k", "Authorization": value})

        assert problem_of(response) == (401, "unauthenticated")

    def test_of_a_deleted_client_is_worth_nothing(self, caller: Caller) -> None:
        caller.row.delete()

        assert problem_of(caller.get("/api/orders")) == (401, "unauthenticated")


class TestAnId:
    @pytest.mark.parametrize("value", ["1", "abc", "0" * 31, "g" * 32, "null", "a%00b", "%F0%9F%98%80", "x" * 3_000])
    def test_that_is_no_uuid_is_refused(self, caller: Caller, value: str) -> None:
        shown, cancelled = caller.get(f"/api/orders/{value}"), caller.cancel(value)

        assert problem_of(shown) == problem_of(cancelled) == (422, "invalid")

    def test_that_is_unknown_is_not_found(self, caller: Caller) -> None:
        shown, cancelled = caller.get(f"/api/orders/{uuid.uuid4()}"), caller.cancel(uuid.uuid4())

        assert problem_of(shown) == problem_of(cancelled) == (404, "no-such-order")


class TestAQuery:
    @pytest.mark.parametrize("path", ["/api/orders", "/api/stock"])
    @pytest.mark.parametrize("limit", ["0", "201", "-1", "text", "", "1.5", "9" * 5_000, "1\x00", "NaN"])
    def test_with_a_limit_out_of_range_is_refused(self, caller: Caller, path: str, limit: str) -> None:
        assert problem_of(caller.get(path, limit=limit)) == (422, "invalid")

    @pytest.mark.parametrize("after", ["", "text", "\x00", "0" * 32 + "\x00", "null", "1" * 5_000])
    def test_for_orders_after_what_is_no_uuid_is_refused(self, caller: Caller, after: str) -> None:
        assert problem_of(caller.get("/api/orders", after=after)) == (422, "invalid")

    @pytest.mark.parametrize("after", ["\x00", "A\x00B", "S" * 65])
    def test_for_stock_after_what_is_no_sku_is_refused(self, caller: Caller, after: str) -> None:
        assert problem_of(caller.get("/api/stock", after=after)) == (422, "invalid")

    def test_that_is_not_utf_8_is_answered(self, caller: Caller) -> None:
        assert caller.get("/api/stock?after=%ff%fe").status_code == 200


class TestAPathOrMethod:
    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW"])
    def test_that_an_operation_does_not_have_is_named_with_those_it_has(self, caller: Caller, method: str) -> None:
        response = Client().generic(method, "/api/orders", headers=caller.authorization)

        assert response.status_code == 405
        assert response["Content-Type"] == "application/problem+json"
        assert sorted(response["Allow"].split(", ")) == ["GET", "POST"]

    @pytest.mark.parametrize(
        "path", ["/api/", "/api/nothing", "/api/orders/", "/api/orders/1/2/3", "/api//orders", "/api/%00"]
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_that_does_not_exist_is_a_problem_document(self, caller: Caller, path: str, method: str) -> None:
        strict = Client(enforce_csrf_checks=True)

        response = strict.generic(method, path, GOOD, headers=caller.authorization)

        status, code = problem_of(response)
        assert (status, code) in {(404, "not-found"), (403, "forbidden")}

    def test_of_a_host_that_is_not_ours_is_a_problem_document(self, caller: Caller) -> None:
        response = Client(SERVER_NAME="evil.example").get("/api/orders", headers=caller.authorization)

        assert problem_of(response) == (400, "bad-request")

    @pytest.mark.parametrize("path", ["/nothing", "/admin/nothing/"])
    def test_outside_the_api_keeps_djangos_page(self, path: str) -> None:
        response = Client().get(path, follow=True)

        assert response["Content-Type"].startswith("text/html")
