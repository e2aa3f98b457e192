"""Read a request's body as strict JSON: what is ambiguous is refused, not interpreted."""

import json
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from ninja.parser import Parser

MAX_BODY_BYTES = 64 * 1024


class BodyRefused(Exception):
    """The body cannot be read; `status`, `code` and the text say why."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class StrictParser(Parser):
    """JSON in UTF-8, at most 64 KiB, no key twice, no NaN, nested no deeper than the parser goes."""

    def parse_body(self, request: HttpRequest) -> Any:
        if request.content_type != "application/json":
            raise BodyRefused(415, "not-json", "send Content-Type: application/json")
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise BodyRefused(415, "encoded-body", "send the body without Content-Encoding")
        return _loads(read_body(request))


def read_body(request: HttpRequest) -> bytes:
    """The body's bytes. Raises BodyRefused above 64 KiB."""
    try:
        body = request.body
    except RequestDataTooBig:
        raise BodyRefused(413, "body-too-large", f"the body may have {MAX_BODY_BYTES} bytes") from None
    if len(body) > MAX_BODY_BYTES:
        raise BodyRefused(413, "body-too-large", f"the body may have {MAX_BODY_BYTES} bytes")
    return body


def _loads(body: bytes) -> Any:
    try:
        return json.loads(body.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise BodyRefused(400, "malformed-json", "the body is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise BodyRefused(400, "malformed-json", f"the body is not strict JSON: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
