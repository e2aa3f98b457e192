"""Run one command with a stack around it, and always take the stack down."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import IO

from devservices.errors import DevservicesError
from devservices.leftovers import note
from devservices.stack import Stack

# With a dot, so that it is no role.
_NOTE = "exec.command"
_IN_USE = "exec.lock"
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Interrupted(BaseException):
    """A signal asked us to end; no ordinary `except` may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run_in(stack: Stack, command: Sequence[str], *, remove: bool, proxied: bool = False) -> int:
    """The exit status of `command`, which ran while the stack was up; 128 + n after signal n."""
    if shutil.which(command[0]) is None:
        raise DevservicesError(f"There is no command {command[0]!r}; nothing was started.")
    for number in _ENDINGS:
        signal.signal(number, _interrupt)
    in_use = claim(stack.folder)
    status = 1
    try:
        stack.up(proxied=proxied)
        env = {**os.environ, **stack.env(), "DEVSERVICES_FOLDER": str(stack.folder)}
        status = _run(command, env, stack.folder / "pids" / _NOTE)
    except _Interrupted as interrupted:
        status = 128 + interrupted.number
    finally:
        # Whoever is impatient now would only leave servers behind.
        for number in _ENDINGS:
            signal.signal(number, signal.SIG_IGN)
        if remove and 0 < status < 128:
            keep_logs(stack.folder)
        stack.down(remove=remove)
        in_use.close()
    return status


def keep_logs(folder: Path) -> None:
    """Copy the logs beside the folder, which is about to go, and say where; those of an earlier failure go."""
    logs, kept = folder / "logs", folder.with_name("failed-logs")
    if logs.is_dir():
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(logs, kept)
        print(f"devservices: the logs of this run are in {os.path.relpath(kept)}", file=sys.stderr)


def is_in_use(folder: Path) -> bool:
    """Whether a `run_in` that lives has its stack in this folder."""
    try:
        with (folder / _IN_USE).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def claim(folder: Path) -> IO[str]:
    """A lock that the operating system frees when we end, however we end."""
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / _IN_USE).open("a")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise _Interrupted(number)


def _run(command: Sequence[str], env: dict[str, str], pid_file: Path) -> int:
    try:
        child = subprocess.Popen(command, env=env)  # noqa: S603 - the command is the caller's
    except OSError as error:
        raise DevservicesError(f"{command[0]} cannot be run: {error}.") from error
    note(pid_file, child.pid)
    while True:
        try:
            status = child.wait()
        except _Interrupted as interrupted:
            # Ctrl-C in a terminal reaches the child without us; a second one would be an order to
            # give up its own cleaning.
            if interrupted.number != signal.SIGINT or not sys.stdin.isatty():
                child.send_signal(interrupted.number)
            continue
        return status if status >= 0 else 128 - status
