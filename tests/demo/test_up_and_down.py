"""The system that `make up` leaves running: every process is there, also after it died, and none after `make down`."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from devservices.running import claim
from devservices.servers import SERVER_ROLES
from tests.flow_tools import wait_until
from tests.process_tools import ROOT

APPLICATION = {"web", "beat", "worker", "consume-inventory", "consume-orders"}
Demo = Callable[..., str]


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`python -m demo` as make calls it, from a shell that knows nothing of the servers of these tests."""
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    command = [sys.executable, "-m", "demo", "--folder", str(folder), *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """Run such a command to its end, and return what it prints."""

    def run(*arguments: str) -> str:
        process = started(tmp_path, *arguments)
        try:
            # A demo whose load gets no good answer says so itself after a minute: that is waited for.
            out, err = process.communicate(timeout=170)
        finally:
            process.kill()
        assert process.returncode == 0, err
        return out

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


def all_run_anew(demo: Demo, before: list[dict[str, Any]]) -> bool:
    pids = {one["pid"] for one in before}
    now = json.loads(demo("status", "--format", "json"))
    return len(now) == len(before) and all(one["state"] == "running" and one["pid"] not in pids for one in now)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.faults
class TestTheSystem:
    def test_is_up_with_every_role_also_after_each_was_killed_and_down_without_a_trace(
        self, demo: Demo, tmp_path: Path
    ) -> None:
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

        for one in running:
            psutil.Process(one["pid"]).kill()
        wait_until(lambda: all_run_anew(demo, running), what="whatever died runs again", seconds=60)
        wait_until(lambda: answers(f"{settings['API_URL']}/readyz"), what="it answers again", seconds=60)
        running += json.loads(demo("status", "--format", "json"))

        supervisor = psutil.Process(int((tmp_path / "up" / "supervisord.pid").read_text()))
        supervisor.kill()
        supervisor.wait(30)
        with started(tmp_path, "status") as status:
            _, said = status.communicate(timeout=60)
        assert status.returncode == 1
        assert "The supervisor has died" in said

        demo("down")
        assert (tmp_path / "up" / "state.json").exists()
        demo("down", "--remove")

        assert not (tmp_path / "up").exists()
        assert json.loads(demo("status", "--format", "json")) == []
        assert demo("status") == "Nothing runs. `make up` starts the system.\n"
        assert not [one for one in running if psutil.pid_exists(one["pid"])]
        assert of_folder(tmp_path) == []


class TestADemoBesideAnother:
    def test_is_refused_and_leaves_the_other_alone(self, tmp_path: Path) -> None:
        with claim(tmp_path / "demo"):
            with started(tmp_path, "run", "--orders", "20") as second:
                _, said = second.communicate(timeout=60)

            assert second.returncode == 1
            assert "another `make demo` runs in this checkout" in said
            assert of_folder(tmp_path) == []

    @pytest.mark.parametrize("orders", ["abc", "0", "-1", "1.5"])
    def test_with_a_wrong_number_is_refused_before_anything_starts(self, tmp_path: Path, orders: str) -> None:
        with started(tmp_path, "run", f"--orders={orders}") as refused:
            _, said = refused.communicate(timeout=60)

        assert refused.returncode == 2
        assert f"'{orders}' is no number of 1 or more" in said
        assert not (tmp_path / "demo").exists()


@pytest.mark.faults
@pytest.mark.timeout(300)
class TestADemo:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_that_is_told_to_stop_leaves_nothing_running(self, tmp_path: Path, number: signal.Signals) -> None:
        end_in_the_middle(tmp_path, number)

        assert of_folder(tmp_path) == []

    def test_that_was_killed_is_cleared_up_by_down(self, demo: Demo, tmp_path: Path) -> None:
        end_in_the_middle(tmp_path, signal.SIGKILL)
        assert of_folder(tmp_path)

        demo("down")

        assert of_folder(tmp_path) == []

    def test_that_was_killed_is_cleared_up_by_the_next_which_makes_its_proof(self, demo: Demo, tmp_path: Path) -> None:
        end_in_the_middle(tmp_path, signal.SIGKILL)
        assert of_folder(tmp_path)

        said = demo("run", "--orders", "20")

        assert said.splitlines()[-1] == "lost 0, extra 0, stuck 0"
        assert of_folder(tmp_path) == []


def end_in_the_middle(folder: Path, number: signal.Signals) -> None:
    """Send a demo this signal when its servers are up, and wait for its end."""
    with started(folder, "run", "--orders", "20") as running:
        assert running.stderr
        next(line for line in running.stderr if "are up" in line)
        running.send_signal(number)
        running.wait(120)
    assert running.returncode != 0
