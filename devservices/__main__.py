"""`python -m devservices`: up, status, env, down, exec."""

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from devservices.errors import DevservicesError
from devservices.running import run_in
from devservices.stack import Stack

VAR = Path(__file__).parent.parent / "var"
DEFAULT_FOLDER = VAR / "devservices"


def main() -> int:
    """Run the command; the exit status."""
    arguments = _parser().parse_args()
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except DevservicesError as error:
        print(f"devservices: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _up(arguments: argparse.Namespace) -> int:
    stack = Stack(arguments.folder)
    stack.up()
    _print_table(stack)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    stack = Stack(arguments.folder)
    if arguments.format == "json":
        print(json.dumps([asdict(process) for process in stack.processes()], indent=2))
    else:
        _print_table(stack)
    return 0


def _print_table(stack: Stack) -> None:
    processes = stack.processes()
    if not processes:
        print(f"Nothing runs in {stack.folder}. `python -m devservices up` starts it.")
        return
    print(f"{'ROLE':<20}{'STATE':<12}{'PID':>8}{'PORT':>8}")
    for one in processes:
        print(f"{one.role:<20}{one.state:<12}{one.pid or '-':>8}{one.port or '-':>8}")


def _env(arguments: argparse.Namespace) -> int:
    for name, value in Stack(arguments.folder).env().items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    folders = [arguments.folder]
    if arguments.all:
        folders = sorted(path.parent for path in VAR.glob("*/state.json"))
    for folder in folders:
        Stack(folder).down(remove=arguments.remove)
    return 0


def _exec(arguments: argparse.Namespace) -> int:
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        raise DevservicesError("exec needs a command: `python -m devservices exec -- make test`.")
    folder = arguments.folder
    if arguments.ephemeral:
        VAR.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="ephemeral-", dir=VAR))
    return run_in(Stack(folder), command, remove=arguments.ephemeral, proxied=arguments.proxied)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devservices",
        description="PostgreSQL, three Kafka brokers and Redis on this machine, without Docker.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        command.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="the stack's folder (%(default)s)")
        return command

    add("up", _up, "Start the servers and wait until they answer. Harmless when they run.")
    status = add("status", _status, "Show what runs: role, state, pid, port.")
    status.add_argument("--format", choices=("text", "json"), default="text")
    add("env", _env, 'Print the addresses for the shell: eval "$(python -m devservices env)".')
    down = add("down", _down, "Stop everything, also what a crash left behind. Keeps the data.")
    down.add_argument("--remove", action="store_true", help="delete the folder and its data too")
    down.add_argument("--all", action="store_true", help="every stack below var/")
    execute = add("exec", _exec, "Bring the servers up, run COMMAND with their addresses, stop everything.")
    execute.add_argument("--ephemeral", action="store_true", help="in a fresh folder below var/, deleted at the end")
    execute.add_argument("--proxied", action="store_true", help="COMMAND runs a proxy before each broker")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")
    return parser


if __name__ == "__main__":
    sys.exit(main())
