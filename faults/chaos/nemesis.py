"""Inject the planned faults at their time, several at once if they meet, and note what was done."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from random import Random

from faults.chaos.log_looks import LogLooks
from faults.chaos.schedule import CRASH_POINT, LOSING, Planned
from faults.fault import hold
from faults.servers import FAULTS
from faults.shop import Shop
from faults.system import System

AT_ONCE = 12  # faults at the same time


@dataclass(slots=True)
class Done:
    """What became of a planned fault. Times are seconds after the start; `failed` says why it was not injected."""

    planned: Planned
    began: float
    ended: float
    told: str
    failed: str = ""


class Nemesis:
    """Works a schedule off. What could not be injected is noted, and not counted as a fault."""

    def __init__(self, system: System, shop: Shop, schedule: Sequence[Planned], log_looks: LogLooks) -> None:
        self._system = system
        self._log_looks = log_looks
        self._shop = shop
        self._schedule = schedule
        self._started = 0.0
        # A topic that is recreated gets the settings that it had: they must not be those of another fault.
        self._one_setting = threading.Lock()
        self._armed: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        self.done: list[Done] = []

    def run(self, tell: Callable[[Done], None], *, started: float) -> None:
        """Inject everything; returns when the last fault has been healed. `tell` hears of each.

        `started` is the moment (monotonic) from which the schedule counts.
        """
        self._started = started
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for planned in self._schedule:
                time.sleep(max(0.0, started + planned.at - time.monotonic()))
                pool.submit(self._one, planned, tell)

    def _one(self, planned: Planned, tell: Callable[[Done], None]) -> None:
        began, told, failed = time.monotonic(), [], ""
        own = replace(self._system, random=Random(planned.seed), lost=set(), lines=[], _hurt={})  # noqa: S311 - no secret
        try:
            if planned.name == CRASH_POINT:
                told.append(self._crash(planned))
            else:
                with self._losing(own) if planned.name in LOSING else nullcontext():
                    began = time.monotonic()
                    hurt = hold(FAULTS[planned.name], own, seconds=planned.hold, tell=told.append)
                if not hurt:
                    failed = "nothing to hurt: another fault had it down, or no such request passed"
        except Exception as error:  # whatever keeps a fault from being injected must not end the run: the report judges
            failed = f"{type(error).__name__}: {error}"
        ended = time.monotonic() - self._started
        done = Done(planned, began - self._started, ended, "; ".join(told), failed)
        with self._lock:
            self.done.append(done)
        tell(done)

    @contextmanager
    def _losing(self, own: System) -> Iterator[None]:
        """One at a time, and what the log held before is known."""
        with self._one_setting:
            self._log_looks.look()
            try:
                yield
            finally:
                self._log_looks.note_losses(own.lost)

    def _crash(self, planned: Planned) -> str:
        """Arm the seam; wake up what was stopped there. Raises TimeoutError when nothing passed it in time."""
        fault = f"{planned.point}"
        hit = self._shop.hits / f"{planned.role} {fault}"
        with self._lock:
            # The same seam a second time: forget the first strike.
            hit.unlink(missing_ok=True)
            self._armed.setdefault(planned.role, []).append(fault)
            self._shop.arm(planned.role, self._armed[planned.role])
        try:
            deadline = time.monotonic() + planned.hold + 15
            while not hit.exists():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no process passed {planned.role} {fault}")
                time.sleep(0.05)
            if ":stop:" in fault:
                time.sleep(planned.hold)
        finally:
            with self._lock:
                self._armed[planned.role].remove(fault)
                self._shop.arm(planned.role, self._armed[planned.role])
            self._system.resume(planned.role)
        return f"{planned.role} {fault}"
