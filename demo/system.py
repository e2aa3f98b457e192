"""The application's processes, as separate programs beside the servers of a stack."""

import json
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from devservices import Program, Stack
from devservices.ports import LOOPBACK, free_port, is_free

ROOT = Path(__file__).resolve().parent.parent


def settings(stack: Stack) -> dict[str, str]:
    """What the application needs in its environment besides the servers' addresses.

    Made at random on the first call, and kept in the stack's folder, readable by its owner alone.
    """
    path = stack.folder / "application.json"
    if not path.exists():
        _write(path, _fresh())
    values = json.loads(path.read_text())
    if not _ours(stack) and not is_free(int(values["WEB_BIND"].rpartition(":")[2])):
        # Somebody else took the port meanwhile.
        values["WEB_BIND"] = f"{LOOPBACK}:{free_port()}"
        _write(path, values)
    return {
        **values,
        "API_URL": f"http://{values['WEB_BIND']}",
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        # Plain HTTP on loopback; everywhere else HTTPS_ONLY stays on.
        "HTTPS_ONLY": "false",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }


def _fresh() -> dict[str, str]:
    return {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ADMIN_PASSWORD": secrets.token_urlsafe(12),
        "API_TOKEN": secrets.token_urlsafe(32),
        "WEB_BIND": f"{LOOPBACK}:{free_port()}",
    }


def _ours(stack: Stack) -> bool:
    """Whether it is our own web that holds its port, or is about to."""
    return any(process.role == "web" for process in stack.processes())


def _write(path: Path, values: Mapping[str, str]) -> None:
    # Whole or not at all, and never readable by others.
    scratch = path.with_suffix(".part")
    scratch.touch(mode=0o600)
    scratch.write_text(json.dumps(values))
    scratch.replace(path)


def programs(stack: Stack, env: Mapping[str, str]) -> list[Program]:
    """One program a role: web, beat, worker, and a consumer for each side of the flow."""
    python = sys.executable
    celery = [python, "-m", "celery", "-A", "config"]
    commands = {
        # Where cores are few, what was accepted is finished before more is accepted.
        "web": ["nice", "-n", "10", python, "-m", "gunicorn", "config.wsgi"],
        "beat": [*celery, "beat", "--pidfile="],
        "worker": [*celery, "worker"],
        "consume-inventory": [python, "manage.py", "consume", "inventory"],
        "consume-orders": [python, "manage.py", "consume", "orders"],
    }
    web_port = int(env["WEB_BIND"].rpartition(":")[2])
    return [
        Program(role, command, env={**env, "ROLE": role}, cwd=ROOT, port=web_port if role == "web" else None)
        for role, command in commands.items()
    ]
