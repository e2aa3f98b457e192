"""What a stack runs, and what it says about what runs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_ROLE = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class Program:
    """One command, kept running under the name `role` until the stack goes down.

    It sees the environment in which the stack was brought up, the stack's addresses, and `env`.
    Without `cwd` it runs where its caller stands. `user` is a system user to become (only as root).
    With `owns_cwd`, all that runs this executable in `cwd` is taken for a part of the program.
    An orderly stop is `stop_signal`, and SIGKILL after `stop_seconds`.
    """

    role: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    port: int | None = None
    stop_seconds: int = 20
    stop_signal: str = "TERM"
    user: str | None = None
    owns_cwd: bool = False

    def __post_init__(self) -> None:
        """Refuse roles that could not be a file name and a supervisor's program name."""
        if not _ROLE.fullmatch(self.role):
            raise ValueError(f"{self.role!r} is no role: use a-z, 0-9 and hyphens, like 'kafka-1'")


@dataclass(frozen=True)
class Process:
    """One program as it is now; `pid` is None while it does not run.

    `state` is running, paused, stopping, stopped, or what supervisord calls the others.
    """

    role: str
    pid: int | None
    port: int | None
    state: str
