"""End the program's earlier life, note one's own pid, become its user, and turn into the program.

The supervisor runs this file by its path, for every start of every program; so it imports little.
"""

import json
import os
import pwd
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

FOLDER_MARK = "DEVSERVICES_SUPERVISED_IN"
ROLE_MARK = "DEVSERVICES_SUPERVISED_AS"


def main() -> None:
    """Run the program described in the JSON file that is the only argument."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    _end_earlier_life(spec)
    Path(spec["pid_file"]).write_text(str(os.getpid()))
    os.environ.update(spec["env"])
    if spec["user"]:
        _become(spec["user"])
    os.chdir(spec["cwd"])
    os.execvp(spec["command"][0], spec["command"])  # noqa: S606 - the command is the caller's


def living_processes() -> Iterator[tuple[psutil.Process, Mapping[str, str]]]:
    """All processes whose environment we may read, with it, without zombies."""
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process, process.environ()
        except (psutil.Error, OSError):
            continue


def lives_in_own_folder(process: psutil.Process, spec: Mapping[str, Any]) -> bool:
    """Whether the process is known by the place where it works.

    PostgreSQL's backends overwrite their environment with their title. But only they run
    PostgreSQL inside a data folder.
    """
    try:
        return bool(
            spec.get("owns_cwd")
            and process.cwd() == os.path.realpath(spec["cwd"])
            and process.exe() == os.path.realpath(spec["command"][0])
        )
    except (psutil.Error, OSError):
        return False


def _end_earlier_life(spec: Mapping[str, Any]) -> None:
    # As when a container is started again: of the program that died, children may be alive. Busy
    # backends of PostgreSQL would keep the new server from starting until their query is done.
    marks = {name: spec["env"][name] for name in (FOLDER_MARK, ROLE_MARK)}
    orphans = [
        process
        for process, env in living_processes()
        if process.pid != os.getpid() and (marks.items() <= env.items() or lives_in_own_folder(process, spec))
    ]
    for orphan in orphans:
        try:
            orphan.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(orphans, timeout=5)


def _become(user: str) -> None:
    entry = pwd.getpwnam(user)
    os.setgroups([entry.pw_gid])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


if __name__ == "__main__":
    main()
