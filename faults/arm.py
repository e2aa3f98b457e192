"""Arm a process: wrap the product's seams, and strike there when told to.

`FAULT=relay.settle:before:kill:3` strikes at the third call of that seam; several are separated by
commas. `FAULT_FILE` names a file with the same text that may change while the process runs.
A fault strikes once in a role: it leaves a file of that name in the folder `FAULT_HITS` before it acts,
and a process that finds the file there (the same one, started again) lets the seam pass.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import KafkaError, KafkaException
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection
from django.utils.module_loading import import_string

from faults.points import POINTS, Point, When, point


class Injected(OperationalError):
    """A fault of this suite: trouble of the surroundings, as a server that does not answer; not of the message."""


@dataclass(frozen=True, slots=True)
class Strike:
    """Strike at the `nth` call of a point."""

    point: str
    when: When
    action: str
    nth: int

    @classmethod
    def parse(cls, text: str) -> "Strike":
        """Read `name:when:action[:nth]`. Raises ImproperlyConfigured with what is wrong."""
        words = text.strip().split(":")
        try:
            name, when, action, nth = words if len(words) == 4 else [*words, "1"]
            if When(when) in point(name).whens and action in ACTIONS and int(nth) >= 1:
                return cls(name, When(when), action, int(nth))
        except (KeyError, ValueError):
            pass
        raise ImproperlyConfigured(
            f"FAULT {text!r} is none: write point:when:action[:nth], for example relay.settle:before:kill:3. "
            f"Points and their whens stand in faults/points.py; actions are {', '.join(ACTIONS)}."
        )

    def __str__(self) -> str:
        return f"{self.point}:{self.when}:{self.action}:{self.nth}"


def _raise() -> None:
    raise Injected("a fault was injected here")


def _break() -> None:
    raise RuntimeError("a bug was injected here")


def _refuse() -> None:
    raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN, "a fault was injected here"))


def _signal(number: signal.Signals) -> Callable[[], None]:
    def send() -> None:
        os.kill(os.getpid(), number)
        # SIGKILL and SIGSTOP act at once; SIGTERM when its handler runs.
        time.sleep(0.05)

    return send


def _disconnect() -> None:
    """End this process's database backend, as a fail-over or an impatient administrator does."""
    connection.ensure_connection()
    own = connection.connection.info
    with psycopg.connect(own.dsn, password=own.password, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [own.backend_pid])


ACTIONS: dict[str, Callable[[], None]] = {
    "raise": _raise,
    "refuse": _refuse,
    "bug": _break,
    "term": _signal(signal.SIGTERM),
    "kill": _signal(signal.SIGKILL),
    "stop": _signal(signal.SIGSTOP),
    "disconnect": _disconnect,
}
# Where Kafka is called. Its own error belongs there alone; and a bug elsewhere may be a message's fault.
_AT_KAFKA = ("relay.publish", "relay.collect", "consume.read", "consume.offsets")


def actions_at(name: str) -> list[str]:
    """The actions that make sense at the point of this name, sorted."""
    return sorted(action for action in ACTIONS if action not in ("refuse", "bug") or name in _AT_KAFKA)


def arm() -> None:
    """Wrap every seam, when the environment asks for it."""
    if "FAULT" not in os.environ and "FAULT_FILE" not in os.environ:
        return
    armed = _Armed()
    armed.read()
    for target in {one.target for one in POINTS}:
        _wrap(target, [one for one in POINTS if one.target == target], armed)


class _Armed:
    """What is armed now, and how often each seam was passed."""

    def __init__(self) -> None:
        self._text = os.environ.get("FAULT", "")
        self._file = Path(os.environ["FAULT_FILE"]) if "FAULT_FILE" in os.environ else None
        self._hits = Path(os.environ["FAULT_HITS"])
        self._role = os.environ.get("ROLE", "operator")
        self._read_at = 0.0
        self._faults: list[Strike] = []
        self._calls: Counter[Strike] = Counter()

    def read(self) -> None:
        """Look whether the file changed; a file that is not there arms nothing."""
        text = self._text
        if self._file is not None:
            try:
                changed_at = self._file.stat().st_mtime
            except FileNotFoundError:
                changed_at = 0.0
            if changed_at == self._read_at:
                return
            self._read_at = changed_at
            text = self._file.read_text() if changed_at else ""
        self._faults = [Strike.parse(one) for one in text.replace("\n", ",").split(",") if one.strip()]

    def strike(self, names: list[str], when: When) -> str | None:
        """The action to take at this call, if any: it is written down first, so that it is taken once."""
        self.read()
        for fault in self._faults:
            if fault.point in names and fault.when == when:
                self._calls[fault] += 1
                if self._calls[fault] >= fault.nth and self._first(fault):
                    return fault.action
        return None

    def _first(self, fault: Strike) -> bool:
        try:
            (self._hits / f"{self._role} {fault}").open("x").close()
        except FileExistsError:
            return False
        return True


def _wrap(target: str, points: list[Point], armed: _Armed) -> None:
    names = [one.name for one in points]
    skips_empty = any(one.skips_empty for one in points)
    module, _, path = target.partition(":")
    owner_path, _, attribute = f"{module}.{path}".rpartition(".")
    owner = import_string(owner_path) if "." in path else __import__(module, fromlist=[attribute])
    original = getattr(owner, attribute)

    @wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        _strike(armed, names, When.BEFORE)
        answer = original(*args, **kwargs)
        if armed.strike(names, When.LOST):
            connection.close()
            raise OperationalError("the server's answer was lost")
        if answer or not skips_empty:
            _strike(armed, names, When.AFTER)
        return answer

    setattr(owner, attribute, wrapped)


def _strike(armed: _Armed, names: list[str], when: When) -> None:
    action = armed.strike(names, when)
    if action:
        ACTIONS[action]()
