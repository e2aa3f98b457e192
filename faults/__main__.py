"""`python -m faults list` and `python -m faults run NAME`: hurt the system that `make up` started."""

import argparse
import difflib
import json
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from random import Random

from demo import system as application
from demo.__main__ import UP
from devservices import DevservicesError, Stack
from faults.fault import available, hold
from faults.servers import FAULTS, heal_all
from faults.system import FaultRefused, System


def main() -> int:
    """Run the command; the exit status."""
    arguments = _parser().parse_args()
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except (DevservicesError, FaultRefused) as error:
        print(f"faults: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _list(arguments: argparse.Namespace) -> int:
    if arguments.format == "json":
        rows = [{"name": f.name, "does": f.does, "heals": f.heals, "proxies": f.proxies} for f in FAULTS.values()]
        print(json.dumps(rows, indent=2))
        return 0
    for fault in FAULTS.values():
        needs = f' It needs a proxy: make chaos ARGS="--only {fault.name}".' if fault.proxies else ""
        print(f"{fault.name:<30}{fault.does} Heals: {fault.heals}.{needs}")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    system = running_system(arguments.folder, seed=arguments.seed)
    fault = FAULTS[arguments.fault]
    if not available(fault, system):
        raise FaultRefused(
            f"{fault.name} needs a proxy before {', '.join(fault.proxies)}, which `make up` has not: "
            f'run `make chaos SECONDS=60 ARGS="--only {fault.name}"`.'
        )
    try:
        if not hold(fault, system, seconds=arguments.seconds, tell=_tell):
            _tell("there was nothing to hurt")
    finally:
        begun = time.monotonic()
        heal_all(system)
        _tell(f"healed: all servers answer, {time.monotonic() - begun:.1f} s later")
        _tell("whether all is still there: `python manage.py audit --deep`")
    return 0


def running_system(folder: Path, *, seed: int | None = None) -> System:
    """The system that `make up` started in `folder`. Raises DevservicesError when nothing runs there."""
    stack = Stack(folder)
    running = {process.role for process in stack.processes()}
    if not running:
        raise DevservicesError(f"Nothing runs in {folder}. Run `make up` first.")
    programs = application.programs(stack, application.settings(stack)) if "web" in running else []
    return System(stack, stack.env()["DATABASE_URL"], programs, random=Random(seed))


def _tell(line: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {line}", flush=True)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def _fault(name: str) -> str:
    if name not in FAULTS:
        near = difflib.get_close_matches(name, FAULTS)
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise argparse.ArgumentTypeError(f"there is no fault {name!r}.{meant} `python -m faults list` names all.")
    return name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m faults", description="Hurt a running system, and heal it.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="every fault: what it does, how it heals")
    listing.set_defaults(command=_list)
    listing.add_argument("--format", choices=["text", "json"], default="text")
    run = commands.add_parser("run", help="inject one fault into the system of `make up`, hold it, heal it")
    run.set_defaults(command=_run)
    run.add_argument("fault", type=_fault, metavar="FAULT")
    run.add_argument("--seconds", type=_seconds, help="how long to hold it (each fault has its own default)")
    run.add_argument("--seed", type=int, help="the same seed makes the same choices")
    run.add_argument("--folder", type=Path, default=UP, help="the stack's folder (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
