"""The W3C trace context (https://www.w3.org/TR/trace-context/) of the work in hand.

It is carried by hand: the instrumentation of confluent-kafka overwrites a stored `traceparent`.
"""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@contextmanager
def continued(received: str | None) -> Iterator[str]:
    """Work inside the trace of `received`, or inside a new one; every log line then names it."""
    traceparent = child_of(received)
    with structlog.contextvars.bound_contextvars(trace_id=traceparent[3:35], traceparent=traceparent):
        yield traceparent


def child_of(received: str | None) -> str:
    """A new span in the trace of `received`; in a new trace where that is absent or malformed."""
    valid = received and _TRACEPARENT.fullmatch(received)
    trace_id = received[3:35] if received and valid else secrets.token_hex(16)
    return f"00-{trace_id}-{secrets.token_hex(8)}-01"


def current() -> str | None:
    """The `traceparent` to store with a message written now."""
    value = structlog.contextvars.get_contextvars().get("traceparent")
    return str(value) if value else None
