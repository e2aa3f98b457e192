"""The audit of what is new, over a short and a long history: its cost must not grow with what is done with."""

import statistics
import time

from benchmarks.history import empty, settle, vacuum
from benchmarks.result import Row, milliseconds, no_growth
from devservices import Stack
from messaging.prove.audit import audit
from messaging.prove.report import Report

HISTORIES = (100_000, 1_000_000)  # settled messages
NEW = 1_000
RUNS = 5


def run(stack: Stack) -> list[Row]:
    taken = {history: _measure(history) for history in HISTORIES}
    empty()
    (short, (new_short, _)), (long, (new_long, full_long)) = taken.items()
    what = f"audit of {NEW:,} new messages after {long:,} settled ones"
    return [
        Row(
            what,
            milliseconds(new_long),
            f"after {short:,}: {milliseconds(new_short)}",
            f"{new_long / new_short:.2f}",
            no_growth(new_long / new_short),
        ),
        Row(
            what,
            milliseconds(new_long),
            f"audit of everything: {milliseconds(full_long)}",
            f"{full_long / new_long:.0f}",
        ),
    ]


def _measure(history: int) -> tuple[float, float]:
    """Seconds of an audit of what is new (the median of some), and of one of everything."""
    empty()
    settle(history)
    vacuum()
    audit(new_only=True)
    audit(new_only=True)  # every transaction of the first look has ended: the mark stands at the end
    seconds = []
    for _ in range(RUNS):
        settle(NEW)
        started = time.perf_counter()
        report = audit(new_only=True)
        seconds.append(time.perf_counter() - started)
        _must_be_in_order(report, messages=NEW)
        audit(new_only=True)
    started = time.perf_counter()
    report = audit()
    elapsed = time.perf_counter() - started
    _must_be_in_order(report, messages=history + RUNS * NEW)
    return statistics.median(seconds), elapsed


def _must_be_in_order(report: Report, *, messages: int) -> None:
    """Nothing is wrong with the history, and at least so many of its messages were looked at."""
    wrong = {name: ids[:3] for name, ids in report.as_json()["ids"].items() if ids}
    if wrong:
        raise SystemExit(f"bench: the history is in order, but the audit finds {wrong}")
    counts = {
        "written": report.written,
        "acknowledged": report.acknowledged,
        "applied": report.applied,
        "of confirmed orders": report.domain["confirmed"] * 2,
    }
    waiting = report.pending + report.parked + report.dead_letters
    if waiting or len(set(counts.values())) > 1 or report.written < messages:
        raise SystemExit(f"bench: of {messages:,} settled messages the audit counts {counts}, and {waiting} that wait")
