"""The tests' settings, in a process whose clock is wrong by CLOCK_OFFSET_SECONDS.

Python's clock is changed here, before anything reads it: `time.time`, Django's `now`, Celery's `now`.
`time.monotonic` is right, as it is where somebody sets a machine's clock.
"""

import os
import time
from datetime import datetime, timedelta

from celery import Celery
from celery.worker import request
from django.utils import timezone

from tests.settings import *  # noqa: F403

_OFFSET = float(os.environ["CLOCK_OFFSET_SECONDS"])
_time, _time_ns, _now, _celery_now = time.time, time.time_ns, timezone.now, Celery.now


class _Wrong(datetime):
    @classmethod
    def now(cls, tz=None):  # type: ignore[no-untyped-def, override]
        return datetime.now(tz) + timedelta(seconds=_OFFSET)


time.time = lambda: _time() + _OFFSET
time.time_ns = lambda: _time_ns() + int(_OFFSET * 1e9)
timezone.now = lambda: _now() + timedelta(seconds=_OFFSET)
Celery.now = lambda self: _celery_now(self) + timedelta(seconds=_OFFSET)
request.datetime = _Wrong
