"""Ends what a stack started and nobody supervises any more, and nothing else.

A process is ours if it noted its pid in the stack's folder, or carries the stack's mark in its
environment, or descends from such a process, or is PostgreSQL at work in the stack's data folder.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from devservices.errors import DevservicesError
from devservices.launch import FOLDER_MARK, lives_in_own_folder, living_processes

_DEADLINE_SECONDS = 15.0


def end_leftovers(folder: Path) -> None:
    """SIGKILL the supervisor and the programs of `folder`, until none is left."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while left := _ours(folder):
        if time.monotonic() > deadline:
            raise DevservicesError(
                f"Processes {sorted(left)} of {folder} do not end, although they were killed. "
                "See `ps` for what they wait for, and run `python -m devservices down` again."
            )
        for process in left.values():
            _kill(process)
        psutil.wait_procs(list(left.values()), timeout=1)


def leftovers(folder: Path) -> list[int]:
    """The living processes that this folder ever started, by pid."""
    return sorted(_ours(folder))


def note(pid_file: Path, pid: int) -> None:
    """Remember a process of ours that no supervisor knows; it must be alive."""
    pid_file.write_text(str(pid))


def noted_process(pid_file: Path) -> psutil.Process | None:
    """The living process that `pid_file` names, or None.

    A process that holds the pid now and already existed when the file was written is the one that
    is meant: only one process at a time has a pid. A later one merely got the same number.
    """
    try:
        written_at = pid_file.stat().st_mtime
        process = psutil.Process(int(pid_file.read_text()))
        # One second, because create_time is as coarse as the kernel's clock tick and boot time.
        if process.create_time() > written_at + 1 or process.status() == psutil.STATUS_ZOMBIE:
            return None
    except (FileNotFoundError, ValueError, psutil.Error):
        return None
    return process


def tree(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that descend from it, the ancestor first."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def stands_still(process: psutil.Process) -> bool:
    """Whether it does nothing more until it is resumed: stopped by a signal, or ended."""
    try:
        return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _ours(folder: Path) -> dict[int, psutil.Process]:
    me = psutil.Process()
    spared = {me.pid, *(parent.pid for parent in me.parents())}
    roots = [*_noted(folder), *_marked(folder)]
    return {
        process.pid: process
        for root in roots
        # A command under `exec` may itself take its stack down, and then goes on.
        if root.pid not in spared
        for process in tree(root)
        if process.pid not in spared
    }


def _noted(folder: Path) -> Iterator[psutil.Process]:
    # The supervisor comes first: it must not restart what is killed next.
    for pid_file in [folder / "supervisord.pid", *sorted((folder / "pids").glob("*"))]:
        if process := noted_process(pid_file):
            yield process


def _marked(folder: Path) -> Iterator[psutil.Process]:
    specs = [json.loads(path.read_text()) for path in (folder / "programs").glob("*.json")]
    for process, env in living_processes():
        marked = env.get(FOLDER_MARK) == str(folder)
        if marked or any(lives_in_own_folder(process, spec) for spec in specs):
            yield process


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
