"""Where scenarios play: the relay and the consumers in this process, on real servers that may be broken."""

import contextlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connections

from faults.checker import Place
from faults.system import System
from messaging.consume import consumer
from messaging.produce.relay import Relay
from messaging.produce.shards import SHARDS
from messaging.registry import subscription
from tests.faults.drained import nothing_travels, nothing_unread
from tests.flow_tools import Flow, backlog

ALL_SHARDS = list(range(SHARDS))
CHILD_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Stage:
    """What a scenario plays on. `patch` is undone when it ends.

    `patience` says for how many seconds to wait for what should come and does not: a planted bug may keep it for ever.
    """

    flow: Flow
    patch: pytest.MonkeyPatch
    system: System
    settings: Any
    patience: float


@dataclass(frozen=True, slots=True)
class Expected:
    """What the checker must be told."""

    broken: Collection[Place] = ()
    kafka_may_lose: bool = False


# A small story in which a bug bites, if there is one. On the product as it is, everything ends in order.
Scenario = Callable[[Stage], Expected]


class Died(BaseException):
    """The process died here: nothing catches it."""


def drain(stage: Stage, *, groups: Sequence[str] = ("inventory", "orders")) -> None:
    """Let everything flow to its end, or until nothing has come for as long as the stage is patient."""
    last_came = time.monotonic()
    while time.monotonic() - last_came < stage.patience:
        for name in groups:
            # A message of unknown fate is tried again after a second.
            rounds(stage.flow.relay, seconds=0.6 + bool(stage.flow.relay._retrying))
            if consume(stage.flow, name):
                last_came = time.monotonic()
        if nothing_travels() and nothing_unread():
            return


@contextlib.contextmanager
def a_child(work: Callable[[], None]) -> Iterator[None]:
    """Work in a forked child beside the body; it dies without a good-bye when it is done, or after a while."""
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            work()
        except Died:
            pass
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    too_long = threading.Timer(CHILD_SECONDS, lambda: _kill(child))
    too_long.start()
    yield
    _, status = os.waitpid(child, 0)
    too_long.cancel()
    # A child that failed by itself would be found, too, and show nothing.
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0


def _kill(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def rounds(relay: Relay, *, seconds: float) -> None:
    """Let a relay publish and settle until nothing is left to do, or so long."""
    deadline = time.monotonic() + seconds
    while (backlog() or relay._flying) and time.monotonic() < deadline:
        relay.round(shards=ALL_SHARDS, wait=0.1)


def consume(flow: Flow, name: str, *, at_least: int = 0) -> int:
    """Run batches until so many records came and no more do; how many there were."""
    declared, reader, count = subscription(name), flow.reader(name), 0
    deadline = time.monotonic() + 30
    # A new member must first be given its partitions, and its first batch may end before a record has come.
    while (read := consumer.run_once(declared, reader)) or not reader._consumer.assignment() or count < at_least:
        count += read
        assert time.monotonic() < deadline, f"{name} read {count} records, not {at_least}, or is no member of its group"
    return count
