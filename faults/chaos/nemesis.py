"""Inject the planned faults at their time, several at once if they meet, and note what was done."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from random import Random

from faults.chaos.schedule import ALL, CRASH_POINT, Planned
from faults.fault import hold
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

    def __init__(self, system: System, shop: Shop, schedule: Sequence[Planned]) -> None:
        self._system = system
        self._shop = shop
        self._schedule = schedule
        self._started = 0.0
        self._stop = threading.Event()
        self._armed: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        self.done: list[Done] = []

    def run(self, tell: Callable[[Done], None]) -> None:
        """Inject everything; returns when the last fault has been healed. `tell` hears of each."""
        self._started = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for planned in self._schedule:
                if self._stop.wait(max(0.0, self._started + planned.at - time.monotonic())):
                    break
                pool.submit(self._one, planned, tell)

    def stop(self) -> None:
        """Inject no more; what is on is healed in its time."""
        self._stop.set()

    def _one(self, planned: Planned, tell: Callable[[Done], None]) -> None:
        if self._stop.is_set():
            return
        began, told, failed = time.monotonic(), [], ""
        try:
            if planned.name == CRASH_POINT:
                told.append(self._crash(planned))
            else:
                own = replace(self._system, random=Random(planned.seed), _hurt={})  # noqa: S311 - a schedule, no secret
                hold(ALL[planned.name], own, seconds=planned.hold, tell=told.append)
        except Exception as error:  # whatever keeps a fault from being injected must not end the run
            failed = f"{type(error).__name__}: {error}"
        done = Done(planned, began - self._started, time.monotonic() - self._started, "; ".join(told), failed)
        with self._lock:
            self.done.append(done)
        tell(done)

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
                self._stop.wait(0.05)
            if ":stop:" in fault:
                self._stop.wait(planned.hold)
        finally:
            with self._lock:
                self._armed[planned.role].remove(fault)
                self._shop.arm(planned.role, self._armed[planned.role])
            self._system.resume(planned.role)
        return f"{planned.role} {fault}"
