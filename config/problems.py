"""Errors as RFC 9457 problem+json: a stable code, what was wrong, and what to do next."""

import json
from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse
from ninja import Schema

CONTENT_TYPE = "application/problem+json"


class Problem(Schema):
    """https://www.rfc-editor.org/rfc/rfc9457: `type` is `urn:zero-loss:<code>`."""

    type: str
    title: str
    status: int
    detail: str


def problem(
    status: int, code: str, title: str, detail: str, *, headers: Mapping[str, str] | None = None
) -> HttpResponse:
    body = {"type": f"urn:zero-loss:{code}", "title": title, "status": status, "detail": detail}
    return HttpResponse(json.dumps(body), status=status, content_type=CONTENT_TYPE, headers=dict(headers or {}))


def database_away() -> HttpResponse:
    return problem(
        503,
        "database-unavailable",
        "The database does not answer",
        "Nothing is known to be written. Repeat the request with the same Idempotency-Key.",
        headers={"Retry-After": "1"},
    )


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problem(404, "not-found", "Not found", f"There is nothing at {request.path}.")


def server_error(request: HttpRequest) -> HttpResponse:
    return problem(500, "internal", "Internal error", "The error was logged. Repeat with the same Idempotency-Key.")
