"""Sum a run up: what was injected, what the system made of it, and how long it took to heal."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psycopg

from faults.chaos.nemesis import Done
from faults.chaos.schedule import LOSING

CONSUMERS = ("consume-inventory", "consume-orders")

# What the consumers log, as messaging/consume says it.
ASSIGNED, REVOKED, LOST = "partitions assigned", "partitions revoked", "partitions lost"
SET_BACK = "a batch could not be handled, trying again"
REFUSED = ("offsets not committed, trying again", "offset not committed, trying again")
# … because the group had changed since the batch was read.
CHANGED = ("REBALANCE_IN_PROGRESS", "ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID")


@dataclass(slots=True)
class Timeline:
    """When orders were accepted and decided, in seconds after the start, and how long each took."""

    accepted: list[float]
    decided: list[float]
    latency: list[tuple[float, float]]  # accepted at, seconds until decided
    repaired: list[float]

    @property
    def longest_stall(self) -> float:
        """The longest time in which no order was decided, in seconds."""
        moments = sorted([0.0, *self.decided])
        return max((later - sooner for sooner, later in pairwise(moments)), default=0.0)


def timeline(database_url: str, started_at: float) -> Timeline:
    """Read from the database; `started_at` by its clock, in seconds since 1970."""
    with psycopg.connect(database_url) as db:
        orders = db.execute(
            """
            SELECT extract(epoch FROM created_at)::float - %(start)s, extract(epoch FROM decided_at)::float - %(start)s
            FROM orders_order ORDER BY created_at
            """,
            {"start": started_at},
        ).fetchall()
        repaired = db.execute(
            "SELECT extract(epoch FROM repaired_at)::float - %s FROM repaired_message ORDER BY repaired_at",
            [started_at],
        ).fetchall()
    return Timeline(
        accepted=[at for at, _ in orders],
        decided=sorted(at for _, at in orders if at is not None),
        latency=[(at, decided - at) for at, decided in orders if decided is not None],
        repaired=[at for (at,) in repaired],
    )


def sum_up(
    *, faults: Sequence[Done], line: Timeline, counts: dict[str, int], logs: Path, drain_seconds: float
) -> dict[str, Any]:
    """The run's figures under stable names; times in seconds."""
    injected = [done for done in faults if not done.failed]
    seconds = [taken for _, taken in line.latency]
    cuts = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else [0.0] * 99
    return {
        **counts,
        "faults_planned": len(faults),
        "faults_injected": len(injected),
        "faults_by_kind": dict(Counter(done.planned.name for done in injected).most_common()),
        "crash_points_by_seam": dict(Counter(_seam(done) for done in injected if done.planned.point).most_common()),
        "not_injected": dict(Counter(done.failed.split(":")[0] for done in faults if done.failed)),
        **_rebalances(logs),
        "longest_stall_s": round(line.longest_stall, 1),
        "latency_p50_s": round(cuts[49], 3),
        "latency_p95_s": round(cuts[94], 3),
        "latency_p99_s": round(cuts[98], 3),
        "latency_max_s": round(max(seconds, default=0.0), 1),
        "noticed_after_s": _noticed_after(injected, line),
        "drain_s": round(drain_seconds, 1),
    }


def _seam(done: Done) -> str:
    return f"{done.planned.role} {done.planned.point.rpartition(':')[0]}"


def _noticed_after(injected: Sequence[Done], line: Timeline) -> float | None:
    """From the end of a fault that may lose records to the first repair before the next such fault: their median.

    Other faults keep the audit from its work meanwhile, and a fault that lost nothing has no repair of its own.
    """
    waits = []
    losses = sorted(done.ended for done in injected if done.planned.name in LOSING)
    for ended, next_ended in pairwise([*losses, math.inf]):
        after = [at - ended for at in line.repaired if ended <= at < next_ended]
        if after:
            waits.append(min(after))
    return round(median(waits), 1) if waits else None


def _rebalances(logs: Path) -> dict[str, int]:
    """What the consumers logged of their group's changes."""
    said: Counter[str] = Counter()
    for role in CONSUMERS:
        for file in logs.glob(f"{role}*.log*"):
            for text in file.read_text(errors="replace").splitlines():
                try:
                    entry = json.loads(text)
                    event, error = entry["event"], str(entry.get("error"))
                except (ValueError, TypeError, KeyError):
                    continue
                said["refused" if event in REFUSED and any(name in error for name in CHANGED) else event] += 1
    return {
        "assignments_changed": said[REVOKED] + said[ASSIGNED],
        "rebalances_in_mid_handler": said[LOST] + said["refused"],
        "batches_set_back": said[SET_BACK],
    }
