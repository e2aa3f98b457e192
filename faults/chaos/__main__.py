"""`python -m faults.chaos`: the command behind `make chaos`."""

import argparse
import os
import sys
import threading
import time
from pathlib import Path
from random import SystemRandom

from tqdm import tqdm

from demo.options import count, positive
from faults.chaos import schedule
from faults.chaos.nemesis import Done
from faults.chaos.report import told_of, write
from faults.chaos.run import ROOT, Plan, run


def main() -> int:
    """Exit status 0 only if nothing is lost, extra or stuck."""
    arguments = _parser().parse_args()
    seed = arguments.seed if arguments.seed is not None else SystemRandom().randrange(10**6)
    plan = Plan(seed, arguments.seconds, arguments.faults_per_minute, arguments.rate, arguments.clients, arguments.only)
    if arguments.dry_run:
        for planned in schedule.draw(seed=seed, seconds=plan.seconds, per_minute=plan.per_minute, only=plan.only):
            whom = f"{planned.role} {planned.point}".strip()
            print(f"{planned.at:8.2f} s  held {planned.hold:5.2f} s  {planned.name} {whom}".rstrip())
        return 0
    if "DEVSERVICES_FOLDER" not in os.environ:
        print("chaos: there are no servers to break. Run `make chaos`.", file=sys.stderr)
        return 2
    bar = tqdm(total=round(plan.seconds * plan.per_minute / 60), unit="fault", desc=f"chaos {seed}", mininterval=1)
    lock = threading.Lock()

    def on_fault(done: Done) -> None:
        with lock:
            bar.update()
            if arguments.verbose:
                tqdm.write(f"{done.began:7.1f} s {done.planned.name}: {done.failed or done.told}", file=sys.stderr)

    done = run(plan, tell=lambda text: tqdm.write(f"chaos: {text}", file=sys.stderr), on_fault=on_fault)
    bar.close()
    folder = arguments.report or ROOT / "var" / "chaos" / f"{time.strftime('%Y%m%d-%H%M%S')}-seed-{seed}"
    write(folder, done)
    f = done.figures
    print(f"seed {seed}: {f['faults_injected']} faults of {len(f['faults_by_kind'])} kinds, {f['accepted']} orders, "
          f"{f['redelivered']} redeliveries absorbed, {f['repaired']} messages that Kafka lost put back")  # fmt: skip
    print(
        f"leader changes {f['leader_changes']}, assignments changed {f['assignments_changed']}, longest stall "
        f"{f['longest_stall_s']} s, drained in {f['drain_s']} s; the stock was read {len(done.seen.samples)} times"
    )
    print(f"planned and not injected: {told_of(f['not_injected'])}")
    print(f"report: {os.path.relpath(folder)}")
    for violation in done.verdict.violations:
        print(violation)
        for step in done.verdict.histories.get(violation.id, []):
            print(f"    {step}")
    for complaint in done.complaints:
        print(complaint)
    print(done.verdict if done.holds or done.verdict.violations else f"NOT PROVEN: {done.verdict}")
    return 0 if done.holds else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m faults.chaos", description=__doc__)
    parser.add_argument("--seconds", type=positive, default=600, help="how long faults are injected (default 600)")
    parser.add_argument("--seed", type=int, help="the same seed, the same faults (default: any)")
    parser.add_argument("--faults-per-minute", type=positive, default=60, help="default 60")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(schedule.WEIGHTS),
        default=[],
        metavar="NAME",
        help="faults of this kind only, and again for each further kind: crash-point, or a name of "
        "`python -m faults list` but kafka-min-isr-unmet",
    )
    parser.add_argument("--rate", type=positive, default=20, help="orders a second (default 20)")
    parser.add_argument("--clients", type=count, default=6, help="clients at the same time (default 6)")
    parser.add_argument("--report", type=Path, help="the report's folder (default: a new one below var/chaos)")
    parser.add_argument("--dry-run", action="store_true", help="only print the schedule of faults")
    parser.add_argument("--verbose", action="store_true", help="print each fault as it ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
