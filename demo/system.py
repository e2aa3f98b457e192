"""The application's processes, as separate programs beside the servers of a stack."""

import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from devservices import Program, Stack
from devservices.ports import free_port

ROOT = Path(__file__).resolve().parent.parent


def settings(stack: Stack) -> dict[str, str]:
    """What the application needs in its environment besides the servers' addresses.

    Made at random on the first call, and kept in the stack's folder, readable by its owner alone.
    """
    path = stack.folder / "application.json"
    if not path.exists():
        values = {
            "SECRET_KEY": secrets.token_urlsafe(50),
            "ADMIN_PASSWORD": secrets.token_urlsafe(12),
            "API_TOKEN": secrets.token_urlsafe(32),
            "WEB_BIND": f"127.0.0.1:{free_port()}",
        }
        with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
            json.dump(values, file)
    values = json.loads(path.read_text())
    return {
        **values,
        "API_URL": f"http://{values['WEB_BIND']}",
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
        # Plain HTTP on loopback; everywhere else HTTPS_ONLY stays on.
        "HTTPS_ONLY": "false",
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }


def programs(stack: Stack, env: Mapping[str, str]) -> list[Program]:
    """One program a role: web, beat, worker, and a consumer for each side of the flow."""
    python = sys.executable
    celery = [python, "-m", "celery", "-A", "config"]
    commands = {
        "web": [python, "-m", "gunicorn", "config.wsgi"],
        "beat": [*celery, "beat", "--schedule", str(stack.folder / "celerybeat-schedule"), "--pidfile="],
        "worker": [*celery, "worker", "--pool=threads", "--concurrency=2"],
        "consume-inventory": [python, "manage.py", "consume", "inventory"],
        "consume-orders": [python, "manage.py", "consume", "orders"],
    }
    web_port = int(env["WEB_BIND"].rpartition(":")[2])
    return [
        Program(role, command, env={**env, "ROLE": role}, cwd=ROOT, port=web_port if role == "web" else None)
        for role, command in commands.items()
    ]
