"""The run as pictures: throughput, latency and backlog over the faults."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from faults.chaos.figures import Timeline
from faults.chaos.nemesis import Done
from faults.chaos.schedule import CRASH_POINT, LOSING
from faults.chaos.watch import Sample

# The same run draws the same file, and text stays text.
mpl.rcParams.update({"svg.hashsalt": "chaos", "svg.fonttype": "none", "font.size": 9})
_COLOURS = {
    "crash points": "#7a5195",
    "processes": "#888888",
    "lines": "#5a9367",
    "redis": "#ffa600",
    "postgres": "#2f6db3",
    "kafka": "#ef5675",
    "losses": "#b00020",
}


def draw(folder: Path, *, line: Timeline, faults: Sequence[Done], samples: Sequence[Sample], seconds: float) -> None:
    """Write timeline.svg and faults.svg."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    axes = figure.subplots(4, 1, sharex=True, height_ratios=[3, 3, 2, 2])
    _throughput(axes[0], line)
    _latency(axes[1], line)
    _backlog(axes[2], samples)
    _faults(axes[3], faults)
    axes[0].axvline(seconds, color="black", linestyle=":", linewidth=1)
    axes[3].set_xlabel(f"seconds after the start; the last fault at {seconds:.0f}")
    figure.savefig(folder / "timeline.svg", metadata={"Date": None})
    _by_kind(folder, faults)


def _throughput(axes: Axes, line: Timeline) -> None:
    for name, moments, colour in [("accepted", line.accepted, "#2f6db3"), ("decided", line.decided, "#5a9367")]:
        per_second = Counter(int(at) for at in moments)
        last = max(per_second, default=0)
        axes.plot(range(last + 1), [per_second[s] for s in range(last + 1)], label=name, color=colour, linewidth=1)
    axes.set_ylabel("orders a second")
    axes.legend(loc="upper right")


def _latency(axes: Axes, line: Timeline) -> None:
    by_second: dict[int, list[float]] = {}
    for at, taken in line.latency:
        by_second.setdefault(int(at), []).append(taken)
    seconds = sorted(by_second)
    axes.plot(seconds, [max(by_second[s]) for s in seconds], ".", markersize=2, color="#ef5675", label="longest")
    axes.plot(seconds, [median(by_second[s]) for s in seconds], ".", markersize=2, color="#2f6db3", label="median")
    axes.set_yscale("log")
    axes.set_ylabel("accepted → decided, s")
    axes.legend(loc="upper right")


def _backlog(axes: Axes, samples: Sequence[Sample]) -> None:
    axes.fill_between([s.at for s in samples], [s.pending for s in samples], color="#ffa600", step="post")
    axes.set_ylabel("backlog")


def _faults(axes: Axes, faults: Sequence[Done]) -> None:
    rows = list(_COLOURS)
    for done in faults:
        if not done.failed:
            row = _room(done.planned.name)
            axes.barh(rows.index(row), max(done.ended - done.began, 0.3), left=done.began, color=_COLOURS[row])
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylabel("faults")


def _by_kind(folder: Path, faults: Sequence[Done]) -> None:
    counts = Counter(done.planned.name for done in faults if not done.failed)
    kinds = sorted(counts, key=lambda kind: counts[kind])
    figure = Figure(figsize=(8, 0.22 * len(kinds) + 1), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(kinds, [counts[kind] for kind in kinds], color=[_COLOURS[_room(kind)] for kind in kinds])
    axes.bar_label(bars, padding=2)
    axes.set_xlabel("injected")
    figure.savefig(folder / "faults.svg", metadata={"Date": None})


def _room(name: str) -> str:
    if name == CRASH_POINT:
        return "crash points"
    if name in LOSING:
        return "losses"
    for room in ("kafka", "postgres", "redis"):
        if name.startswith(room) and not name.startswith(("postgres-line", "postgres-commit")):
            return room
    return "lines" if "line" in name or "answer" in name else "processes"
