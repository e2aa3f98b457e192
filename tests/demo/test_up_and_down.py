"""The system that `make up` leaves running: every process is there, and none after `make down`."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from devservices.servers import SERVER_ROLES
from tests.process_tools import ROOT

APPLICATION = {"web", "beat", "worker", "consume-inventory", "consume-orders"}
Demo = Callable[..., str]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """`python -m demo` as make calls it, from a shell that knows nothing of the servers of these tests."""
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "demo", "--folder", str(tmp_path), *arguments]
        ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    yield run
    run("down")


def of_folder(folder: Path) -> list[str]:
    """The command lines of the processes that work in the folder, or name it in their command or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [process.cwd(), *process.cmdline(), *process.environ().values()]
            if process.pid != os.getpid() and any(str(folder) in word for word in words):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


class TestTheSystem:
    def test_is_up_with_every_role_and_down_without_a_trace(self, demo: Demo, tmp_path: Path) -> None:
        said = demo("up")
        running = json.loads(demo("status", "--format", "json"))
        table = demo("status")
        exports = [line.removeprefix("export ") for line in demo("env").splitlines()]

        assert {one["role"] for one in running} == {*SERVER_ROLES, *APPLICATION}
        assert {one["state"] for one in running} == {"running"}
        for one in running:
            assert psutil.pid_exists(one["pid"])
            assert f"{one['role']} " in table
            assert f"pid {one['pid']} " in table
        settings = dict(shlex.split(line)[0].split("=", 1) for line in exports)
        assert {"DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "CELERY_BROKER_URL"} <= settings.keys()
        assert f"{settings['API_URL']}/admin/" in said
        authorization = {"Authorization": f"Bearer {settings['API_TOKEN']}"}
        assert httpx.get(f"{settings['API_URL']}/api/stock", headers=authorization, timeout=30).status_code == 200

        assert len(of_folder(tmp_path)) >= len(running)

        demo("down")

        assert json.loads(demo("status", "--format", "json")) == []
        assert demo("status") == "Nothing runs. `make up` starts the system.\n"
        assert not [one for one in running if psutil.pid_exists(one["pid"])]
        assert of_folder(tmp_path) == []
