"""`python -m faults.chaos` refuses wrong numbers before anything starts."""

import subprocess
import sys

import pytest


def chaos(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "faults.chaos", "--dry-run", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("option", "number"),
    [("--seconds", "0"), ("--seconds", "nan"), ("--faults-per-minute", "-5"), ("--rate", "inf"), ("--rate", "many")],
)
def test_how_long_and_how_often_are_above_zero(option: str, number: str) -> None:
    refused = chaos(f"{option}={number}")

    assert refused.returncode == 2
    assert f"argument {option}: {number!r} is no number above 0" in refused.stderr


def test_a_dry_run_prints_the_schedule_of_its_seed() -> None:
    first, second, other = (chaos("--seconds=60", f"--seed={seed}").stdout for seed in (3, 3, 4))

    assert first.splitlines()
    assert first == second
    assert first != other
