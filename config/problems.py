"""Errors as RFC 9457 problem+json: a stable code, what was wrong and why, and what to do next."""

import json
from collections.abc import Callable, Mapping

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
    return HttpResponse(
        _document(status, code, title, detail),
        status=status,
        content_type=CONTENT_TYPE,
        headers=dict(headers or {}),
    )


def database_away() -> HttpResponse:
    return problem(
        503,
        "database-unavailable",
        "The database does not answer",
        "Nothing is known to be written. Repeat the request, a POST with the same Idempotency-Key.",
        headers={"Retry-After": "1"},
    )


class ProblemsBelowApi:
    """Below /api/ Django's own refusals (no such path, wrong method, bad host, a bug) are problems too.

    Stands first among the middlewares, so that it sees what each of the others refuses. The admin keeps
    Django's pages.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        refused = response.status_code >= 400 and response.headers.get("Content-Type") != CONTENT_TYPE
        if refused and request.path_info.startswith("/api/"):
            _reword(request, response)
        return response


def _reword(request: HttpRequest, response: HttpResponse) -> None:
    """Change the answer's body, and keep its status and its headers (Allow, traceparent)."""
    status = response.status_code
    code, title, detail = _DJANGOS.get(status, ("refused", "The request was refused", "Read /api/docs."))
    detail = detail.format(path=request.path, allow=response.headers.get("Allow", ""))
    response.content = _document(status, code, title, detail).encode()
    response.headers["Content-Type"] = CONTENT_TYPE
    response.headers["Content-Length"] = str(len(response.content))


_DJANGOS = {
    400: ("bad-request", "The request cannot be read", "Its Host header or another part of it is malformed."),
    403: ("forbidden", "The request was refused", "Only the documented operations answer: read /api/docs."),
    404: ("not-found", "There is nothing here", "{path} is no path of this API. Read /api/docs for those."),
    405: ("method-not-allowed", "The path has no such method", "{path} answers to {allow}."),
    500: (
        "internal",
        "Internal error",
        "The error is ours, and is logged. Repeat the request, a POST with the same Idempotency-Key.",
    ),
}


def _document(status: int, code: str, title: str, detail: str) -> str:
    return json.dumps({"type": f"urn:zero-loss:{code}", "title": title, "status": status, "detail": detail})
