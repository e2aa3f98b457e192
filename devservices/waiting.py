"""Waiting for a condition, with a deadline."""

import threading
import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], *, seconds: float, cancelled: threading.Event | None = None) -> bool:
    """Ask until `condition()` is true; False when the time is over or somebody cancelled."""
    deadline = time.monotonic() + seconds
    pause = cancelled or threading.Event()
    while not condition():
        if time.monotonic() > deadline or pause.wait(0.05):
            return False
    return True
