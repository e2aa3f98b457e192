"""`python -m demo.credentials`: docker compose's secrets, made at random on the first start and kept in a volume.

One that the environment (.env) sets is taken from there. `--show` prints addresses and credentials.
"""

import argparse
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

FOLDER = Path("/run/credentials")
# How many random bytes each has, where nobody set it.
SECRETS = {"SECRET_KEY": 50, "POSTGRES_PASSWORD": 32, "ADMIN_PASSWORD": 12, "API_TOKEN": 32}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo.credentials", description=__doc__)
    parser.add_argument("--show", action="store_true", help="print them; the log of `docker compose up` never does")
    arguments = parser.parse_args()
    make(FOLDER, os.environ)
    if arguments.show:
        show(FOLDER, os.environ)
    else:
        print(f"ready: {', '.join(SECRETS)}. To see them: docker compose run --rm credentials --show", file=sys.stderr)
    return 0


def make(folder: Path, given: Mapping[str, str]) -> None:
    """Write each secret into a file of its own, and the database's URL; what is there stays."""
    for name, size in SECRETS.items():
        path = folder / name
        value = given.get(name) or (path.read_text() if path.exists() else secrets.token_urlsafe(size))
        _write(path, value)
    _write(folder / "DATABASE_URL", database_url(folder, "postgres:5432"))


def database_url(folder: Path, address: str) -> str:
    """How to reach the database at `host:port`."""
    password = quote((folder / "POSTGRES_PASSWORD").read_text(), safe="")
    return f"postgres://shop:{password}@{address}/shop"


def show(folder: Path, environ: Mapping[str, str]) -> None:
    """Print what a person or a program on the host needs."""
    web = f"http://127.0.0.1:{environ['WEB_PORT']}"
    kafka = ",".join(f"127.0.0.1:{port}" for port in environ["KAFKA_PORTS"].split(","))
    print(f"admin    {web}/admin/     admin / {(folder / 'ADMIN_PASSWORD').read_text()}")
    print(f"API      {web}/api/docs   Authorization: Bearer {(folder / 'API_TOKEN').read_text()}")
    print(f"DATABASE_URL={database_url(folder, '127.0.0.1:' + environ['POSTGRES_PORT'])}")
    print(f"KAFKA_BOOTSTRAP_SERVERS={kafka}")


def _write(path: Path, text: str) -> None:
    """Whole or not at all: a start that is cut off must not leave half a password behind."""
    draft = path.with_suffix(".new")
    draft.write_text(text)
    # PostgreSQL and the application run as different users. The volume is mounted only where it is needed.
    draft.chmod(0o444)
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
