"""The report of a run: a folder that tells all of it, for people and for machines."""

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from faults.chaos.figures import Timeline
from faults.chaos.nemesis import Done
from faults.chaos.pictures import draw
from faults.chaos.watch import INTERVAL_SECONDS, Seen
from faults.checker import Verdict

# Figures of the report.
_MUST_HAPPEN = ("redelivered", "confirmed", "rejected", "ran_short", "cancelled", "adjusted", "leader_changes")
# … and in a long run, which draws faults that bring them about.
_MUST_HAPPEN_IN_LONG_RUNS = ("rebalances_in_mid_handler", "repaired")
_LONG_RUN = 600  # planned faults
# What a fault may not fail by: that is no trouble of the system, but a defect of the fault.
_DEFECTS = {"TypeError", "AttributeError", "NameError", "UnboundLocalError", "AssertionError", "NotImplementedError"}
_SOME_LOOKS = 10  # into the log; of fewer, most may be blind by chance
_PACKAGES = ("Django", "confluent-kafka", "psycopg", "celery", "redis", "gunicorn")


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that is known when a run has ended."""

    seed: int
    seconds: float
    per_minute: float
    rate: float
    faults: Sequence[Done]
    line: Timeline
    seen: Seen
    figures: dict[str, Any]
    verdict: Verdict
    servers: dict[str, str]
    only: Sequence[str] = ()  # the kinds that were asked for, if not all
    failures: Sequence[str] = ()  # answers of the API that it must never give, and what ended the adjuster
    missing: Sequence[str] = ()  # messages that the log lacked before anybody made it lose them

    @property
    def holds(self) -> bool:
        """Nothing lost, extra or stuck, drained in time, and nothing wrong was seen while it ran.

        A run proves nothing, and does not hold, if little happened to it.
        """
        return not self.verdict.violations and bool(self.figures["drained"]) and not self.complaints

    @property
    def complaints(self) -> list[str]:
        """What was wrong while it ran, and what did not happen that should have."""
        f, seen = self.figures, self.seen
        return [
            *(f"the stock did not add up at {look}" for look in seen.unsettled),
            *(f"a message was blamed for a fault at {look}" for look in seen.blamed),
            *(f"the API: {failure}" for failure in self.failures),
            *(f"the watch: {failure}" for failure in seen.failures),
            *(f"before a loss: {missing}" for missing in self.missing),
            *(f"{name}: none, so the run proves little" for name in self._must_happen if not f[name]),
            *(f"a fault has a defect of its own: {name}" for name in f["not_injected"] if name in _DEFECTS),
            *["fewer than half of the planned faults struck"] * (f["faults_injected"] < f["faults_planned"] / 2),
            *["most looks into the log were blind"]
            * (f["log_looks"] >= _SOME_LOOKS and f["log_looks_blind"] > f["log_looks"] / 2),
            *["too few looks at the stock"] * (len(seen.samples) < self.seconds / INTERVAL_SECONDS / 4),
        ]

    @property
    def _must_happen(self) -> Sequence[str]:
        if self.only:
            return ()
        return _MUST_HAPPEN + (_MUST_HAPPEN_IN_LONG_RUNS if self.figures["faults_planned"] >= _LONG_RUN else ())


def write(folder: Path, run: Run) -> None:
    """Write README.md, report.json, timeline.svg and faults.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(folder, line=run.line, faults=run.faults, samples=run.seen.samples, seconds=run.seconds)
    (folder / "report.json").write_text(json.dumps(_as_json(run), indent=1) + "\n")
    (folder / "README.md").write_text("\n".join(_text(run)) + "\n")


def versions(servers: dict[str, str]) -> dict[str, str]:
    """What ran: the code's commit, the packages of this environment and the servers."""
    packages = {name: version(name) for name in _PACKAGES}
    return {"commit": _commit(), "Python": platform.python_version(), **packages, **servers}


def _commit() -> str:
    """The checkout's, marked where files differ from it; what it is unknown where there is no git."""
    asked = ["git", "describe", "--always", "--abbrev=12", "--dirty"]
    try:
        told = subprocess.run(asked, cwd=Path(__file__).parent, check=True, capture_output=True, text=True)  # noqa: S603
        return told.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def told_of(counts: Mapping[str, int]) -> str:
    """`TimeoutError 3, FaultRefused 1`; `none` where there are none."""
    return ", ".join(f"{what} {count}" for what, count in counts.items()) or "none"


def _as_json(run: Run) -> dict[str, Any]:
    return {
        "seed": run.seed,
        "seconds": run.seconds,
        "faults_per_minute": run.per_minute,
        "only": list(run.only),
        "orders_per_second": run.rate,
        "holds": run.holds,
        "verdict": str(run.verdict),
        "violations": [str(violation) for violation in run.verdict.violations],
        "complaints": run.complaints,
        "looks": len(run.seen.samples),
        "versions": versions(run.servers),
        "figures": run.figures,
        "faults": [
            asdict(done.planned)
            | {"began": round(done.began, 2), "ended": round(done.ended, 2), "told": done.told, "failed": done.failed}
            for done in sorted(run.faults, key=lambda done: done.began)
        ],
    }


def _text(run: Run) -> list[str]:
    f = run.figures
    again = f"make chaos SECONDS={run.seconds:.0f} SEED={run.seed} FAULTS_PER_MINUTE={run.per_minute:.0f}"
    if run.only:
        again += f' ARGS="{" ".join(f"--only {name}" for name in run.only)}"'
    lines = [
        f"# Chaos, seed {run.seed}: {run.verdict}",
        "",
        f"`{again}` draws the same faults again. {f['faults_injected']} faults in {run.seconds:.0f} s under "
        f"{f['accepted'] / run.seconds:.0f} orders a second ({run.rate:.0f} were asked for); then everything healed, "
        "drained and was checked from outside.",
        "",
        "![throughput, latency, backlog and faults](timeline.svg)",
        "",
        "| | |",
        "|---|---|",
        f"| verdict | **{run.verdict}** |",
        f"| orders accepted | {f['accepted']} = {f['confirmed']} confirmed + {f['rejected']} rejected "
        f"({f['ran_short']} because the stock ran short) + {f['cancelled']} cancelled |",
        f"| messages | {f['written']} written, {f['acknowledged']} acknowledged, {f['in_log']} in the log at their "
        f"place, {f['gone_from_log_after_use']} gone from it after use |",
        f"| seen in the log before it was made to lose records | {f['held_before_losses']} messages, in "
        f"{f['log_looks']} looks ({f['log_looks_blind']} of them blind: no answer, or a replica out of sync) |",
        f"| redeliveries absorbed | {f['redelivered']} |",
        f"| lost by Kafka and put back | {f['repaired']}"
        + (
            f"; the first repair came {f['noticed_after_s']} s after such a fault (median)"
            if f["noticed_after_s"] is not None
            else ""
        )
        + " |",
        f"| stock read as a bank would | {len(run.seen.samples)} times while it ran ({run.seen.blind} times "
        f"PostgreSQL did not answer); it did not add up {len(run.seen.unsettled)} times |",
        f"| manual adjustments | {f['adjusted']} by optimistic locking; {f['adjustments_beaten']} came too late and "
        "were refused |",
        f"| orders tried | {f['tried']}; POSTs without a good answer, repeated {f['unsure']}; given up by the client "
        f"{f['given_up']} |",
        f"| planned and not injected | {told_of(f['not_injected'])} |",
        f"| leader changes | {f['leader_changes']} |",
        f"| assignments changed by rebalances | {f['assignments_changed']}; {f['rebalances_in_mid_handler']} times "
        "a member lost its partitions, or the group changed between its batch and its offset commit |",
        f"| batches set back by trouble | {f['batches_set_back']} |",
        f"| accepted to decided | p50 {f['latency_p50_s']} s, p95 {f['latency_p95_s']} s, p99 {f['latency_p99_s']} s, "
        f"longest {f['latency_max_s']} s |",
        f"| longest stall | {f['longest_stall_s']} s without any decision |",
        f"| time to drain after healing | {f['drain_s']} s |",
        f"| versions | {', '.join(f'{name} {number}' for name, number in versions(run.servers).items())} |",
        "",
        "![faults by kind](faults.svg)",
        "",
    ]
    lines += [f"- {complaint}" for complaint in run.complaints]
    for violation in run.verdict.violations:
        lines += [f"- {violation}", *(f"  - {step}" for step in run.verdict.histories.get(violation.id, []))]
    return lines
