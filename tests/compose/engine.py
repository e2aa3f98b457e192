"""docker compose, in a project of its own: its own names, volumes and ports."""

import json
import os
import shutil
import socket
import subprocess
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "zero-loss-test"
PORTS = ("WEB_PORT", "POSTGRES_PORT", "KAFKA1_PORT", "KAFKA2_PORT", "KAFKA3_PORT")
# Settings of the caller's shell or .env must not decide what this test sees.
EMPTY = ("SECRET_KEY", "POSTGRES_PASSWORD", "ADMIN_PASSWORD", "API_TOKEN", "LOG_LEVEL", "WEB_WORKERS")
LEADER = """
from messaging.store.kafka import admin_client
cluster = admin_client().list_topics("orders.events", timeout=30)
leader = cluster.brokers.get(cluster.topics["orders.events"].partitions[0].leader)
print(leader.host if leader else "")
"""


class ComposeFailed(Exception):
    """A docker command ended with an error: its command line and the end of what it printed."""


@dataclass(frozen=True)
class State:
    """How a service's container is."""

    service: str
    state: str
    health: str
    exit_status: int

    @property
    def well(self) -> bool:
        return self.health == "healthy" if self.state == "running" else self.exit_status == 0

    def __str__(self) -> str:
        return f"{self.service:<20}{self.health or f'{self.state} {self.exit_status}'}"


class Compose:
    """The commands of docker compose that the test uses."""

    def __init__(self) -> None:
        """Raises ComposeFailed where there is no docker."""
        program = shutil.which("docker")
        if program is None:
            raise ComposeFailed("There is no `docker` on PATH. Install Docker with its compose plugin, 2.26 or later.")
        plugin = subprocess.run([program, "compose", "version"], capture_output=True, text=True, check=False)
        if plugin.returncode:
            raise ComposeFailed("`docker` has no compose plugin. Install it: version 2.26 or later.")
        self._program = program
        self.ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")},
            **dict.fromkeys(EMPTY, ""),
            **{name: str(port) for name, port in self.ports.items()},
            "COMPOSE_PROJECT_NAME": PROJECT,
        }

    def run(self, *arguments: str, timeout: float = 120) -> str:
        """`docker compose …`: what it wrote to stdout. Raises ComposeFailed."""
        return self._docker("compose", "--progress", "plain", *arguments, timeout=timeout).stdout

    def warnings(self, *arguments: str) -> str:
        """What `docker compose …` wrote to stderr. Raises ComposeFailed."""
        return self._docker("compose", *arguments, timeout=60).stderr.strip()

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """`docker compose …` in the background, with its stdout and stderr as pipes."""
        return subprocess.Popen(
            [self._program, "compose", *arguments],
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def kill(self, service: str) -> None:
        """SIGKILL its container. The engine does not start again what was killed by hand."""
        self._docker("kill", "--signal", "KILL", self.run("ps", "--quiet", service).strip(), timeout=30)

    def leader(self) -> str:
        """The service whose broker leads partition 0 of the orders' topic; empty while none does."""
        return self.run("exec", "-T", "worker", "python", "-c", LEADER).strip()

    def query(self, sql: str) -> str:
        """What the database answers, unaligned."""
        return self.run("exec", "-T", "postgres", "psql", "-U", "shop", "-d", "shop", "-Atc", sql).strip()

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page of the web service, asked from the host."""
        url = f"http://127.0.0.1:{self.ports['WEB_PORT']}{path}"
        with urllib.request.urlopen(url, timeout=30) as response:
            return response.status, response.read().decode()

    def states(self) -> list["State"]:
        """Every container of the project."""
        lines = self.run("ps", "--all", "--format", "json").splitlines()
        return [State(one["Service"], one["State"], one["Health"], one["ExitCode"]) for one in map(json.loads, lines)]

    def remove(self) -> None:
        """Containers, volumes, network and the image of this project."""
        # What is thrown away need not be stopped with care.
        self.run("--profile", "demo", "down", "--volumes", "--remove-orphans", "--timeout", "2", timeout=300)
        if self._docker("image", "ls", "--quiet", f"{PROJECT}-app", timeout=30).stdout:
            self._docker("image", "rm", "--force", f"{PROJECT}-app", timeout=60)

    def _docker(self, *arguments: str, timeout: float) -> "subprocess.CompletedProcess[str]":
        # In a session of its own: Ctrl-C ends this test, which then takes everything down in order.
        done = subprocess.run(
            [self._program, *arguments],
            cwd=ROOT,
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            start_new_session=True,
        )
        if done.returncode:
            end = "\n".join((done.stdout + done.stderr).splitlines()[-40:])
            raise ComposeFailed(f"docker {' '.join(arguments)} ended with {done.returncode}\n{end}")
        return done


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
