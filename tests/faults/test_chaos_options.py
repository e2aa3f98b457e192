"""`python -m faults.chaos` refuses wrong numbers before anything starts."""

import sys
from collections.abc import Callable

import pytest

from faults.chaos.__main__ import main


@pytest.fixture
def chaos(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command in this process. Dry, so that it breaks nothing where it does not refuse."""

    def run(*options: str) -> int:
        monkeypatch.setattr(sys, "argv", ["chaos", "--dry-run", *options])
        return main()

    return run


@pytest.mark.parametrize(
    ("option", "number"),
    [("--seconds", "0"), ("--seconds", "nan"), ("--faults-per-minute", "-5"), ("--rate", "inf"), ("--rate", "many")],
)
def test_how_long_and_how_often_are_above_zero(
    option: str, number: str, chaos: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        chaos(f"{option}={number}")

    assert refused.value.code == 2
    assert f"argument {option}: {number!r} is no number above 0" in capsys.readouterr().err


def test_a_dry_run_prints_the_schedule_of_its_seed(
    chaos: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for seed in (3, 3, 4):
        assert chaos("--seconds=60", f"--seed={seed}") == 0
        printed.append(capsys.readouterr().out)
    first, second, other = printed

    assert first.splitlines()
    assert first == second
    assert first != other
