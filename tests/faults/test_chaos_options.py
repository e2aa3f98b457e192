"""`python -m faults.chaos` refuses wrong numbers before anything starts."""

import sys

import pytest

from faults.chaos.__main__ import main


@pytest.mark.parametrize(
    ("option", "number"),
    [("--seconds", "0"), ("--seconds", "nan"), ("--faults-per-minute", "-5"), ("--rate", "inf"), ("--rate", "many")],
)
def test_how_long_and_how_often_are_above_zero(
    option: str, number: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["chaos", f"{option}={number}"])

    with pytest.raises(SystemExit) as refused:
        main()

    assert refused.value.code == 2
    assert f"argument {option}: {number!r} is no number above 0" in capsys.readouterr().err


def test_a_dry_run_prints_the_schedule_of_its_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []
    for seed in (3, 3, 4):
        monkeypatch.setattr(sys, "argv", ["chaos", "--dry-run", "--seconds=60", f"--seed={seed}"])
        assert main() == 0
        printed.append(capsys.readouterr().out)
    first, second, other = printed

    assert first.splitlines()
    assert first == second
    assert first != other
