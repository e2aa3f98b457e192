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
    return f"00-{id_of(received) or secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def id_of(traceparent: str | None) -> str | None:
    """The trace's id, by which log lines name it; None where `traceparent` is absent or malformed."""
    return traceparent[3:35] if traceparent and _TRACEPARENT.fullmatch(traceparent) else None


def current() -> str | None:
    """The `traceparent` to store with a message written now."""
    value = structlog.contextvars.get_contextvars().get("traceparent")
    return str(value) if value else None
