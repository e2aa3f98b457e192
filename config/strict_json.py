"""Read a request's body as strict JSON: what is ambiguous is refused, not interpreted."""

import json
from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser

from messaging.envelope import members_once

MAX_BODY_BYTES = 64 * 1024


class BodyRefused(Exception):
    """The body cannot be read; `status`, `code` and the text say why."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code


class StrictParser(Parser):
    """JSON in UTF-8 of at most 64 KiB: no key twice, no NaN, no half of a character, no endless nesting.

    It is asked only where there is a body: `missing_body` says what its absence means.
    """

    def parse_body(self, request: HttpRequest) -> Any:
        if request.content_type != "application/json":
            raise BodyRefused(415, "not-json", "Send Content-Type: application/json.")
        charset = (request.content_params or {}).get("charset", "utf-8")
        if charset.lower() != "utf-8":
            raise BodyRefused(415, "not-json", "JSON is UTF-8: leave the charset out of Content-Type.")
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise BodyRefused(415, "encoded-body", "Send the body as it is, without Content-Encoding.")
        if len(request.body) > MAX_BODY_BYTES:
            raise body_too_large()
        return _loads(request.body)


def body_too_large() -> BodyRefused:
    detail = f"The body may have {MAX_BODY_BYTES} bytes. Place several orders."
    return BodyRefused(413, "body-too-large", detail)


def missing_body(request: HttpRequest) -> BodyRefused:
    """Why an operation that needs a body found none."""
    if "Transfer-Encoding" in request.headers:
        return BodyRefused(411, "length-required", "Send the body with Content-Length, not in chunks.")
    return BodyRefused(400, "body-missing", "Send a JSON object, as /api/docs describes it.")


def _loads(body: bytes) -> Any:
    try:
        text = body.decode()
        found = json.loads(text, object_pairs_hook=members_once, parse_constant=_refuse_constant)
        if "\\u" in text:
            # Half of a surrogate pair is no character, and cannot be stored or passed on.
            json.dumps(found, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        raise BodyRefused(400, "malformed-json", "The body is not UTF-8.") from None
    except UnicodeEncodeError:
        raise BodyRefused(400, "malformed-json", "The body has half of a surrogate pair.") from None
    except (ValueError, RecursionError) as error:
        raise BodyRefused(400, "malformed-json", f"The body is not strict JSON: {error}.") from None
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
