"""Beat's scheduler, on a machine whose clock may be set back while it runs."""

import time
from datetime import UTC, datetime

import structlog
from celery import beat

LONG_AGO = datetime.fromtimestamp(0, UTC)  # an entry that ran then is due now

log = structlog.get_logger(__name__)


class Scheduler(beat.Scheduler):  # type: ignore[misc]  # Celery has no types
    """Celery's own, in memory. One that is in a file can be broken, and holds every tick back if a clock ahead of
    ours wrote it.

    When the clock goes back, every entry is due anew: Celery would send nothing until the clock has caught up, which
    is an hour for one that was an hour ahead.
    """

    _last_tick = 0.0

    def tick(self, *args: object, **kwargs: object) -> float:
        now = time.time()
        if now < self._last_tick:
            log.warning("the clock was set back, every task is due now", seconds=round(self._last_tick - now, 3))
            for entry in self.schedule.values():
                entry.last_run_at = LONG_AGO
            self._heap = None  # Celery makes it anew
        self._last_tick = now
        seconds: float = super().tick(*args, **kwargs)
        return seconds
