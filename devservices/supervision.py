"""One supervisord per stack: it starts the programs, restarts those that die, keeps their logs.

supervisord reads what to run from `programs/<role>.conf`; the command itself stands beside it in
`<role>.json`, because a conf file could not carry every command and environment without harm.
"""

import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

from devservices import launch
from devservices.errors import DevservicesError
from devservices.launch import FOLDER_MARK, ROLE_MARK
from devservices.program import Program
from devservices.waiting import wait_until

# A unix socket's path may have 103 bytes on macOS, and supervisord first binds it with its pid
# appended.
_LONGEST_SOCKET_PATH = 90
_CONFIG = """\
[unix_http_server]
file={socket}
chmod=0700
[supervisord]
logfile={folder}/logs/supervisord.log
pidfile={folder}/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[include]
files={folder}/programs/*.conf
"""
# startsecs=0: a program counts as running at once, so one that dies is started again each second,
# for ever. With any other value supervisord waits longer after each attempt and finally gives up.
_PROGRAM = """\
[program:{role}]
command={command}
autorestart=true
startsecs=0
startretries=1000000000
stopsignal={stop_signal}
stopwaitsecs={stop_seconds}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={folder}/logs/{role}.log
stdout_logfile_backups=1
"""


@dataclass(frozen=True)
class Supervised:
    """What supervisord says about one program; `state` is its word in lower case."""

    role: str
    state: str
    pid: int | None


class Supervisor:
    """The supervisord of one folder, whoever started it."""

    def __init__(self, folder: Path) -> None:
        """Attach to the folder; nothing is started."""
        self._folder = folder
        self._socket = _socket_path(folder)
        self._reloading = threading.Lock()

    def is_running(self) -> bool:
        """Whether supervisord answers."""
        try:
            return bool(self._call("getPID"))
        except (OSError, xmlrpc.client.Error):
            return False

    def start(self) -> None:
        """Start supervisord as a daemon with no programs; it must not be running."""
        for name in ("logs", "pids", "programs"):
            (self._folder / name).mkdir(exist_ok=True)
        for stale in (self._folder / "programs").iterdir():
            stale.unlink()
        config = self._folder / "supervisord.conf"
        values = {"folder": _escaped(self._folder), "socket": _escaped(self._socket)}
        config.write_text(_CONFIG.format_map(values))
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]
        # Its own session: Ctrl-C in the terminal that called `up` does not reach the servers. The
        # mark: `down` finds it even if somebody deleted the folder.
        done = subprocess.run(  # noqa: S603 - our own command
            command,
            cwd=self._folder,
            env={**os.environ, FOLDER_MARK: str(self._folder)},
            start_new_session=True,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or not wait_until(self.is_running, seconds=15):
            raise DevservicesError(
                f"supervisord does not start: {(done.stdout + done.stderr).strip()} "
                f"See {self._folder}/logs/supervisord.log."
            )

    def forget(self) -> None:
        """Remove what belongs to processes that have all ended."""
        for note in (self._folder / "pids").glob("*"):
            note.unlink()
        (self._folder / "supervisord.pid").unlink(missing_ok=True)
        self._socket.unlink(missing_ok=True)

    def add(self, program: Program, env: Mapping[str, str]) -> None:
        """Start a program with `env` in its environment; it replaces one of the same role."""
        known = program.role in self.roles()
        if known:
            self.stop(program.role)
        self._write(program, env)
        if known:
            self.start_program(program.role)
            return
        with self._reloading:
            self._call("reloadConfig")
            self._call("addProcessGroup", program.role)

    def _write(self, program: Program, env: Mapping[str, str]) -> None:
        spec_file = self._folder / "programs" / f"{program.role}.json"
        marks = {FOLDER_MARK: str(self._folder), ROLE_MARK: program.role}
        spec = {
            "command": list(program.command),
            "cwd": str(program.cwd or Path.cwd()),
            "env": {**env, **program.env, **marks},
            "owns_cwd": program.owns_cwd,
            "user": program.user,
            "pid_file": str(self._folder / "pids" / program.role),
            "port": program.port,
        }
        spec_file.touch(mode=0o600)
        spec_file.write_text(json.dumps(spec, indent=2))
        command = [sys.executable, "-P", str(launch.__file__), str(spec_file)]
        text = _PROGRAM.format(
            role=program.role,
            command=_escaped(shlex.join(command)),
            stop_signal=program.stop_signal,
            stop_seconds=program.stop_seconds,
            folder=_escaped(self._folder),
        )
        spec_file.with_suffix(".conf").write_text(text)

    def programs(self) -> list[Supervised]:
        """All programs, by role."""
        found = cast(list[dict[str, Any]], self._call("getAllProcessInfo"))
        rows = [Supervised(one["name"], one["statename"].lower(), one["pid"] or None) for one in found]
        return sorted(rows, key=lambda row: row.role)

    def roles(self) -> set[str]:
        """The roles that were added, running or not."""
        return {program.role for program in self.programs()}

    def port(self, role: str) -> int | None:
        """The port which the role's program was added with."""
        spec = json.loads((self._folder / "programs" / f"{role}.json").read_text())
        return cast(int | None, spec["port"])

    def start_program(self, role: str) -> None:
        """Start a program that was stopped; one that runs is left alone."""
        try:
            self._call("startProcess", role, False)
        except xmlrpc.client.Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise

    def stop(self, role: str, *, wait: bool = True) -> None:
        """Stop a program in its orderly way; it stays down until it is started."""
        try:
            self._call("stopProcess", role, wait)
        except xmlrpc.client.Fault as fault:
            if "NOT_RUNNING" not in fault.faultString:
                raise

    def _call(self, method: str, *arguments: object) -> object:
        # A connection for each call: supervisord's transport is not safe for threads.
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        with xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport) as server:
            return getattr(server.supervisor, method)(*arguments)


def _socket_path(folder: Path) -> Path:
    path = folder / "supervisor.sock"
    if len(str(path).encode()) <= _LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"devservices-{name}.sock"


def _escaped(text: object) -> str:
    return str(text).replace("%", "%%")
