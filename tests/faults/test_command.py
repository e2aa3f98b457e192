"""`python -m faults`: every fault by its name, and a clear refusal where there is nothing to hurt."""

import json
import subprocess
import sys
from pathlib import Path

from faults.servers import FAULTS
from tests.process_tools import ROOT


def faults(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "faults", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


class TestTheCommand:
    def test_lists_every_fault_with_what_it_does_and_how_it_heals(self) -> None:
        listed = json.loads(faults("list", "--format", "json").stdout)

        assert [one["name"] for one in listed] == list(FAULTS)
        assert all(one["does"].endswith(".") and one["heals"] for one in listed)

    def test_says_what_to_do_where_nothing_runs(self, tmp_path: Path) -> None:
        done = faults("run", "kafka-kill-leader", "--folder", str(tmp_path))

        assert done.returncode == 1
        assert done.stderr == f"faults: Nothing runs in {tmp_path}. Run `make up` first.\n"

    def test_refuses_a_fault_that_it_does_not_know(self) -> None:
        assert faults("run", "no-such-fault").returncode == 2
