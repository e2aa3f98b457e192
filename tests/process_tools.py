"""Start the product's processes as the operating system would, and end them by their ids."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from django.conf import settings
from django.db import connection

from tests.flow_tools import wait_until

ROOT = Path(__file__).resolve().parent.parent
ORDERLY_SECONDS = 5.0  # for the consumers that are told to stop


class Processes:
    """Every process that a test started."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[bytes]] = []
        self.logs = Path(tempfile.mkdtemp(prefix="zero-loss-test-"))

    def manage(self, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
        """`manage.py <arguments>` against the test's database."""
        return self.start(sys.executable, "manage.py", *arguments, **env)

    def celery(self, *arguments: str, **env: str) -> subprocess.Popen[bytes]:
        """`celery -A config <arguments>` against the test's database."""
        return self.start(sys.executable, "-m", "celery", "-A", "config", *arguments, **env)

    def start(self, *command: str, **env: str) -> subprocess.Popen[bytes]:
        with (self.logs / f"{len(self._started)}.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=environment() | env, stdout=log, stderr=subprocess.STDOUT)
        self._started.append(process)
        return process

    def output(self, process: subprocess.Popen[bytes]) -> str:
        """What the process has printed so far."""
        return (self.logs / f"{self._started.index(process)}.log").read_text(errors="replace")

    def wait_for_output(self, process: subprocess.Popen[bytes], text: str) -> None:
        """Wait until the process has printed this."""
        wait_until(lambda: text in self.output(process), what=f"a process printed {text!r}")

    def end(self) -> None:
        """End what still runs, wait for each, and remove their logs."""
        running = [process for process in self._started if process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGCONT)
            # In the orderly way: a member that vanishes would hold its group for the next test.
            process.send_signal(signal.SIGTERM if "consume" in process.args else signal.SIGKILL)
        deadline = time.monotonic() + ORDERLY_SECONDS
        for process in self._started:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)
        shutil.rmtree(self.logs)


def environment() -> dict[str, str]:
    """The test's environment, with the database that pytest-django made."""
    database = connection.settings_dict
    url = (
        f"postgres://{database['USER']}:{database['PASSWORD']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
    )
    return dict(os.environ) | {
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "SECRET_KEY": settings.SECRET_KEY,
        "PYTHONUNBUFFERED": "1",
    }
