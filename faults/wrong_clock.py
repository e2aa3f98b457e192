"""The settings of CLOCK_SETTINGS, in a process whose clock is wrong by CLOCK_OFFSET_SECONDS. Never for production.

Python's clock is changed here, before anything reads it: `time.time`, Django's `now`, Celery's `now`.
`time.monotonic` is right, as it is where somebody sets a machine's clock. Where CLOCK_SET_BY names a
file, it is right until that is there.
"""

import os
import time
from datetime import datetime, timedelta, tzinfo
from importlib import import_module

from celery import Celery
from celery.worker import request
from django.utils import timezone

_SECONDS = float(os.environ["CLOCK_OFFSET_SECONDS"])
_SET_BY = os.environ.get("CLOCK_SET_BY", "/")
_time, _time_ns, _now, _celery_now = time.time, time.time_ns, timezone.now, Celery.now


def _offset() -> float:
    return _SECONDS if os.path.exists(_SET_BY) else 0.0


class _Wrong(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override] # a plain one, as its callers compare
        return datetime.now(tz) + timedelta(seconds=_offset())


time.time = lambda: _time() + _offset()
time.time_ns = lambda: _time_ns() + int(_offset() * 1e9)
timezone.now = lambda: _now() + timedelta(seconds=_offset())
Celery.now = lambda self: _celery_now(self) + timedelta(seconds=_offset())
request.datetime = _Wrong

globals().update(vars(import_module(os.environ["CLOCK_SETTINGS"])))
