"""The audit of what is new, over a short and a long history: its cost must not grow with what is done with."""

import statistics
import time

from django.db import connection

from benchmarks.history import empty, settle
from benchmarks.result import Row
from devservices import Stack
from messaging.prove.audit import audit

HISTORIES = (100_000, 1_000_000)  # settled messages
NEW = 1_000
RUNS = 5


def run(stack: Stack) -> list[Row]:
    taken = {history: _measure(history) for history in HISTORIES}
    empty()
    (short, (new_short, _)), (long, (new_long, full_long)) = taken.items()
    return [
        Row(
            f"audit of {NEW:,} new messages after {long:,} settled ones",
            f"{new_long * 1000:.0f} ms",
            f"after {short:,}: {new_short * 1000:.0f} ms",
            f"{new_long / new_short:.2f}",
            "≈ 1",
        ),
        Row(
            f"audit of {NEW:,} new messages after {long:,} settled ones",
            f"{new_long * 1000:.0f} ms",
            f"audit of everything: {full_long * 1000:.0f} ms",
            f"{full_long / new_long:.0f}",
        ),
    ]


def _measure(history: int) -> tuple[float, float]:
    """Seconds of an audit of what is new (the median of some), and of one of everything."""
    empty()
    settle(history)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    audit(new_only=True)
    audit(new_only=True)  # every transaction of the first look has ended: the mark stands at the end
    seconds = []
    for _ in range(RUNS):
        settle(NEW)
        started = time.perf_counter()
        report = audit(new_only=True)
        seconds.append(time.perf_counter() - started)
        assert report.acknowledged >= NEW, report.as_json()
        assert not report.losses, report.losses[:3]
        audit(new_only=True)
    started = time.perf_counter()
    report = audit()
    assert report.acknowledged == history + RUNS * NEW, report.as_json()
    return statistics.median(seconds), time.perf_counter() - started
