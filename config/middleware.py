"""Bind the request's trace id to every log line and to every message that the request writes."""

from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse

from messaging import trace


class RequestContext:
    """Continue the caller's W3C trace (`traceparent`) or start one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with trace.continued(request.headers.get("traceparent")) as traceparent:
            structlog.contextvars.bind_contextvars(path=request.path, method=request.method)
            try:
                response = self.get_response(request)
            finally:
                structlog.contextvars.unbind_contextvars("path", "method")
            response["traceparent"] = traceparent
            return response
