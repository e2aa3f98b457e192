"""`python -m demo`: run, up, status, env, logs, down. The Makefile's targets call these."""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import httpx

from demo import system
from demo.options import add_options, as_arguments
from devservices import DevservicesError, Process, Stack
from devservices.running import is_in_use, run_in

VAR = system.ROOT / "var"
READY_SECONDS = 60.0
UP = VAR / "up"


def main() -> int:
    arguments = _parser().parse_args()
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except DevservicesError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        if command is _up:
            _say("interrupted; what was started runs on: `make up` starts the rest, `make down` stops it")
        return 130


def _run(arguments: argparse.Namespace) -> int:
    stack = Stack(arguments.folder / "demo")
    if is_in_use(stack.folder):
        raise DevservicesError("another `make demo` runs in this checkout. Wait for its end, or stop it: `make down`.")
    # What an earlier run left behind when it was killed.
    stack.down(remove=True)
    return run_in(stack, [sys.executable, "-m", "demo.drive", *as_arguments(arguments)], remove=True)


def _up(arguments: argparse.Namespace) -> int:
    stack = _left_running(arguments)
    _say("starting PostgreSQL, three Kafka brokers and Redis")
    stack.up()
    env = system.settings(stack)
    _say("making tables, topics, stock and credentials")
    _prepare(stack, env)
    _say("starting web, beat, worker and two consumers")
    stack.add(system.programs(stack, env))
    _wait_for(f"{env['API_URL']}/readyz")
    print(f"API      {env['API_URL']}/api/docs   Authorization: Bearer {env['API_TOKEN']}")
    print(f"admin    {env['API_URL']}/admin/     admin / {env['ADMIN_PASSWORD']}")
    for name, value in stack.env().items():
        print(f"{name}  {value}")
    print("make status | make env | make logs | make down")
    return 0


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            if httpx.get(url, timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise DevservicesError(f"{url} does not answer after {READY_SECONDS:.0f} s. See `make logs`.")
        time.sleep(0.2)


def _prepare(stack: Stack, env: dict[str, str]) -> None:
    code = (
        "import django, os; django.setup(); from demo.prepare import prepare; "
        "prepare(token=os.environ['API_TOKEN'], admin_password=os.environ['ADMIN_PASSWORD'])"
    )
    subprocess.run([sys.executable, "-c", code], cwd=system.ROOT, env={**os.environ, **stack.env(), **env}, check=True)


def _status(arguments: argparse.Namespace) -> int:
    processes = _running(_left_running(arguments))
    if arguments.format == "json":
        print(json.dumps([asdict(process) for process in processes], indent=2))
        return 0
    if not processes:
        print("Nothing runs. `make up` starts the system.")
    for one in processes:
        print(f"{one.role:<20}{one.state:<12}pid {one.pid or '-':<10}port {one.port or '-'}")
    return 0


def _env(arguments: argparse.Namespace) -> int:
    stack = _left_running(arguments)
    if not _running(stack):
        raise DevservicesError("Nothing runs, so there are no addresses. Run `make up` first.")
    for name, value in {**stack.env(), **system.settings(stack)}.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    logs = sorted(str(path) for path in (_left_running(arguments).folder / "logs").glob(f"{arguments.role}.log"))
    if not logs:
        raise DevservicesError(f"There are no logs of {arguments.role!r}. Run `make up` first.")
    return subprocess.run(["tail", "-n", str(arguments.lines), *logs], check=False).returncode


def _down(arguments: argparse.Namespace) -> int:
    _left_running(arguments).down(remove=arguments.remove)
    for folder in (arguments.folder / "demo", *abandoned(arguments.folder)):
        if folder.exists():
            Stack(folder).down(remove=True)
    return 0


def _left_running(arguments: argparse.Namespace) -> Stack:
    """The stack of `make up`."""
    return Stack(arguments.folder / UP.name)


def _running(stack: Stack) -> list[Process]:
    """What runs of the stack. Raises DevservicesError when it runs without the supervisor, which has died."""
    if left := stack.unsupervised():
        raise DevservicesError(
            f"The supervisor has died; {len(left)} of its processes live on, and nobody starts them again. "
            "Run `make down`, then `make up`."
        )
    return stack.processes()


def abandoned(var: Path) -> list[Path]:
    """What a `make test` or `make bench` that was killed left behind; not what one works in just now."""
    return [folder for folder in sorted(var.glob("ephemeral-*")) if not is_in_use(folder)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description="The whole system on this machine.")
    parser.add_argument(
        "--folder", type=Path, default=VAR, help="where servers and programs keep their files (%(default)s)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=command)
        return added

    add_options(add("run", _run, "Start everything, drive orders, kill three processes, prove all, stop everything."))
    add("up", _up, "Start everything and leave it running.")
    add("status", _status, "What runs: role, state, pid, port.").add_argument(
        "--format", choices=["text", "json"], default="text"
    )
    add("env", _env, 'Addresses and credentials for other programs: eval "$(make -s env)".')
    logs = add("logs", _logs, "The end of each process's log.")
    logs.add_argument("--lines", type=int, default=20)
    logs.add_argument("--role", default="*", help="one role's log only")
    down = add("down", _down, "Stop the system, and what a killed demo or test left behind. Data of `make up` stays.")
    down.add_argument("--remove", action="store_true", help="delete the data of `make up`, too")
    return parser


def _say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
