"""Servers without Docker: what dies is started again, and nothing is left behind however it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from devservices import SERVER_ROLES, Process, Program, Stack
from devservices.launch import FOLDER_MARK, living_processes
from devservices.running import is_in_use, keep_logs
from tests.flow_tools import wait_until
from tests.process_tools import ROOT

SLEEP = Program("sleeper", [sys.executable, "-c", "import time; time.sleep(3600)"])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("stack") / "servers")
    stack.up([SLEEP])
    yield stack
    stack.down(remove=True)


def find(stack: Stack, role: str) -> Process:
    return next(process for process in stack.processes() if process.role == role)


def marked(folder: Path) -> list[psutil.Process]:
    """What lives of this stack, as the operating system sees it."""
    return [process for process, env in living_processes() if env.get(FOLDER_MARK) == str(folder)]


def has_ended(pid: int) -> bool:
    """Also true for one that only waits for its parent, which may be the machine's first process, to take notice."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


class TestWhatDies:
    @pytest.mark.parametrize("role", ["redis", "postgres", "sleeper"])
    def test_is_started_again(self, stack: Stack, role: str) -> None:
        before = find(stack, role)

        stack.kill(role)

        wait_until(lambda: find(stack, role).pid not in (None, before.pid), what=f"{role} was started again")
        if role in SERVER_ROLES:
            stack.wait_ready(role)
        assert find(stack, role).port == before.port

    def test_stays_down_when_it_was_stopped(self, stack: Stack) -> None:
        stack.stop("sleeper")
        assert find(stack, "sleeper").pid is None

        stack.start("sleeper")

        wait_until(lambda: find(stack, "sleeper").state == "running", what="it runs again")

    def test_without_answering_is_told_apart_from_what_runs(self, stack: Stack) -> None:
        stack.pause("sleeper")
        wait_until(lambda: find(stack, "sleeper").state == "paused", what="it is paused")

        stack.resume("sleeper")

        wait_until(lambda: find(stack, "sleeper").state == "running", what="it runs")


class TestTwoStacks:
    def test_run_side_by_side_on_ports_of_their_own(self, stack: Stack) -> None:
        folder = os.environ.get("DEVSERVICES_FOLDER")
        if not folder:
            pytest.skip("it needs another stack beside its own: `make test`")
        other = Stack(Path(folder))

        assert {p.role for p in other.processes() if p.state == "running"} >= set(SERVER_ROLES)
        assert {p.role for p in stack.processes() if p.state == "running"} >= set(SERVER_ROLES)
        ports = [p.port for one in (stack, other) for p in one.processes() if p.port]
        assert len(ports) == len(set(ports))
        assert stack.env().keys() == other.env().keys()
        assert not set(stack.env().values()) & set(other.env().values())


class TestExec:
    """`python -m devservices exec -- COMMAND`"""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], Path, int]]]:
        """Start it with a command that sleeps; returns the process, its stack's folder and the command's pid."""
        note = tmp_path / "note"
        folders: list[Path] = []
        started: list[subprocess.Popen[bytes]] = []

        def start(*options: str) -> tuple[subprocess.Popen[bytes], Path, int]:
            command = f'echo "$$ $DEVSERVICES_FOLDER" > {note}.part; mv {note}.part {note}; exec sleep 3600'
            process = subprocess.Popen(
                [sys.executable, "-m", "devservices", "exec", *options, "--", "sh", "-c", command], cwd=ROOT
            )
            started.append(process)
            wait_until(lambda: note.exists() or process.poll() is not None, what="the command runs", seconds=90)
            pid, folder = note.read_text().split(maxsplit=1)
            folders.append(Path(folder.strip()))
            return process, folders[-1], int(pid)

        yield start
        for process in started:
            process.kill()
            process.wait(30)
        for folder in folders:
            Stack(folder).down(remove=True)

    @pytest.mark.faults
    @pytest.mark.parametrize("supervisor_too", [False, True], ids=["alone", "with its supervisor"])
    def test_killed_leaves_nothing_that_down_does_not_end(
        self, run: Callable[..., tuple[subprocess.Popen[bytes], Path, int]], tmp_path: Path, supervisor_too: bool
    ) -> None:
        process, folder, command = run("--folder", str(tmp_path / "killed"))
        assert is_in_use(folder)
        process.kill()
        process.wait(30)
        assert not is_in_use(folder)
        if supervisor_too:
            psutil.Process(int((folder / "supervisord.pid").read_text())).kill()
        assert len(marked(folder)) >= len(SERVER_ROLES) - 1  # PostgreSQL as another user may not be read

        for _ in range(2):  # harmless when nothing runs any more
            down = [sys.executable, "-m", "devservices", "down", "--folder", str(folder)]
            assert subprocess.run(down, cwd=ROOT, check=False).returncode == 0

        assert marked(folder) == []
        wait_until(lambda: has_ended(command), what="the command has ended")
        assert Stack(folder).processes() == []
        assert (folder / "state.json").exists()

    def test_interrupted_stops_everything_and_removes_its_ephemeral_folder(
        self, run: Callable[..., tuple[subprocess.Popen[bytes], Path, int]]
    ) -> None:
        process, folder, command = run("--ephemeral")
        assert folder.is_dir()

        process.send_signal(signal.SIGINT)

        assert process.wait(60) == 130
        assert not folder.exists()
        assert marked(folder) == []
        wait_until(lambda: has_ended(command), what="the command has ended")


class TestTheLogs:
    def test_of_a_run_that_failed_outlive_its_folder_until_the_next_failure(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("first", "second"):
            logs = tmp_path / f"ephemeral-{name}" / "logs"
            logs.mkdir(parents=True)
            (logs / f"{name}.log").write_text("what happened")

            keep_logs(logs.parent)

        assert [path.name for path in (tmp_path / "failed-logs").iterdir()] == ["second.log"]
        assert "the logs of this run are in" in capsys.readouterr().err
