"""The whole product as processes on a stack, with its crash points installed: what tests and chaos break."""

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx

from demo import system
from devservices import Program, Stack
from devservices.waiting import wait_until
from faults.points import Role


class Shop:
    """Start the processes against a database, arm them, and stop them again.

    `celery` runs the relay as production does, by beat and worker; otherwise by `manage.py relay`.
    `env` is added to every process's environment: the database, other settings, other addresses.
    """

    def __init__(self, stack: Stack, env: Mapping[str, str], *, celery: bool = False) -> None:
        self.stack = stack
        self.folder = stack.folder / "faults"
        self.hits = self.folder / "hits"
        self.env = {
            **system.settings(stack),
            "DJANGO_SETTINGS_MODULE": "faults.settings",
            "FAULT_HITS": str(self.hits),
            "WEB_WORKERS": "1",
            "LOG_LEVEL": "INFO",
            "PYTHONUNBUFFERED": "1",
            **env,
        }
        self._celery = celery

    def start(self) -> None:
        """Start all processes; they run when this returns, and may not be ready yet."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.hits.mkdir(parents=True)
        self.stack.add(self.programs())

    def programs(self) -> list[Program]:
        """The product's processes, each with a file of its own that arms it."""
        all_ = {program.role: program for program in system.programs(self.stack, self.env)}
        if not self._celery:
            # One process whose death is the relay's death.
            web = all_["web"]
            del all_["beat"], all_["worker"]
            command = [sys.executable, "manage.py", "relay"]
            all_["relay"] = Program("relay", command, env={**self.env, "ROLE": "relay"}, cwd=web.cwd)
        return [
            Program(
                program.role,
                program.command,
                env={**(program.env or {}), "FAULT_FILE": str(self._file(role))},
                cwd=program.cwd,
                port=program.port,
            )
            for role, program in all_.items()
        ]

    @property
    def roles(self) -> list[str]:
        return [program.role for program in self.programs()]

    def arm(self, role: Role | str, faults: Sequence[str]) -> None:
        """Let this role's processes strike at these points, each once: `name:when:action:nth`."""
        scratch = self._file(role).with_suffix(".new")
        scratch.write_text("\n".join(faults))
        # Whole or not at all; and with a time of change that differs from the last one's.
        scratch.replace(self._file(role))

    def disarm(self) -> None:
        for file in self.folder.glob("*.fault"):
            file.unlink(missing_ok=True)
        for hit in self.hits.iterdir():
            hit.unlink()

    def struck(self) -> set[str]:
        """The faults that were injected since `disarm`."""
        return {path.name for path in self.hits.iterdir()}

    def answers(self) -> bool:
        """Whether the API is ready."""
        try:
            return httpx.get(f"{self.env['API_URL']}/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """End every process of the product; the servers go on."""
        for role in self.roles:
            self.stack.stop(role)

    def _file(self, role: Role | str) -> Path:
        return self.folder / f"{role}.fault"


def wait_for(condition: Callable[[], object], *, seconds: float, what: str) -> float:
    """Ask until the condition holds; how long it took. Raises TimeoutError with `what`."""
    started = time.monotonic()
    if not wait_until(lambda: bool(condition()), seconds=seconds):
        raise TimeoutError(f"waited {seconds:.0f} s in vain: {what}")
    return time.monotonic() - started
