"""A long run holds only if nothing went wrong while it ran, and enough happened to it."""

from dataclasses import replace
from typing import Any

import pytest

from faults.chaos.figures import Timeline
from faults.chaos.report import Run
from faults.chaos.watch import Sample, Seen
from faults.checker import Verdict, Violation

HAPPENED = dict.fromkeys(
    ("redelivered", "confirmed", "rejected", "ran_short", "cancelled", "adjusted", "leader_changes"), 1
)
GOOD = Run(
    seed=1,
    seconds=2,
    per_minute=60,
    rate=20,
    faults=[],
    line=Timeline([], [], [], []),
    seen=Seen(samples=[Sample(1.0, 0, 0, 0, 0)]),
    figures=HAPPENED
    | {"drained": True, "not_injected": {"TimeoutError": 1}, "faults_planned": 2, "faults_injected": 1}
    | {"log_looks": 10, "log_looks_blind": 5},
    verdict=Verdict([], {}),
    servers={},
)


IN_A_LONG_RUN = dict.fromkeys(("rebalances_in_mid_handler", "repaired"), 1)


def of(**figures: Any) -> Run:
    return replace(GOOD, figures=GOOD.figures | figures)


def long(**figures: Any) -> Run:
    return of(**IN_A_LONG_RUN | {"faults_planned": 600, "faults_injected": 600} | figures)


def test_a_run_in_which_all_happened_and_nothing_went_wrong_holds() -> None:
    assert GOOD.complaints == []
    assert GOOD.holds
    assert long().holds


@pytest.mark.parametrize(
    "run",
    [
        *(pytest.param(of(**{name: 0}), id=f"{name}: none") for name in HAPPENED),
        *(pytest.param(long(**{name: 0}), id=f"a long run, {name}: none") for name in IN_A_LONG_RUN),
        pytest.param(of(drained=False), id="not drained in time"),
        pytest.param(of(faults_planned=3), id="few faults struck"),
        pytest.param(of(log_looks_blind=6), id="blind looks into the log"),
        pytest.param(of(not_injected={"AttributeError": 1}), id="a fault has a defect"),
        pytest.param(replace(GOOD, verdict=Verdict([Violation("I1", "an order", "is gone")], {})), id="I1"),
        pytest.param(replace(GOOD, seen=replace(GOOD.seen, unsettled=["1.0 s: SKU-A"])), id="stock"),
        pytest.param(replace(GOOD, seen=replace(GOOD.seen, blamed=["1.0 s: 1 dead letters"])), id="blamed"),
        pytest.param(replace(GOOD, seen=replace(GOOD.seen, failures=["KeyError()"])), id="the watch ended"),
        pytest.param(replace(GOOD, seen=replace(GOOD.seen, samples=[])), id="no look at the stock"),
        pytest.param(replace(GOOD, failures=["POST: 500"]), id="the API"),
        pytest.param(replace(GOOD, missing=["I8 a message"]), id="the log lacks a message"),
    ],
)
def test_a_run_does_not_hold_otherwise(run: Run) -> None:
    assert not run.holds
