"""The checker can fail: with each bug planted it turns red, and without any it is green."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faults.checker import Verdict
from orders.models import Order
from tests.faults.drained import check_now, lost_until_now
from tests.planted import consume_bugs, produce_bugs, prove_bugs
from tests.planted.bug import Bug
from tests.planted.stage import Scenario, Stage

pytestmark = [pytest.mark.planted, pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")]

BUGS: list[Bug] = [*produce_bugs.BUGS, *consume_bugs.BUGS, *prove_bugs.BUGS]
SCENARIOS: list[Scenario] = list(dict.fromkeys(bug.scenario for bug in BUGS))


@pytest.fixture(scope="session")
def table() -> Iterator[dict[str, str]]:
    """The rows of docs/planted-bugs.md by their bugs, written where PLANTED_TABLE says once every bug was found."""
    rows: dict[str, str] = {}
    yield rows
    if "PLANTED_TABLE" in os.environ and len(rows) == len(BUGS):
        Path(os.environ["PLANTED_TABLE"]).write_text(_HEAD + "".join(rows[bug.name] + "\n" for bug in BUGS))


DOCUMENT = Path(__file__).parents[2] / "docs" / "planted-bugs.md"
_HEAD = """\
# Planted bugs

That a check is green says something only if it can be red. Each of these bugs is planted into the product from outside
([tests/planted](../tests/planted/bug.py)), a small scenario on real servers lets it bite, and the checker from outside
([faults/checker.py](../faults/checker.py)) must name the invariants that do not hold. The same scenarios without a
bug end with `lost 0, extra 0, stuck 0`. Written by `PLANTED_TABLE=docs/planted-bugs.md make test-planted`.

| bug | what it does | scenario | caught by | after | what saves the product |
|---|---|---|---|---|---|
"""


class TestTheDocument:
    def test_has_the_bugs_in_their_order_with_what_they_do_and_what_catches_them(self) -> None:
        rows = [line.strip("| ").split(" | ") for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]

        assert [[*row[:3], row[5]] for row in rows[1:]] == [
            [bug.name, bug.does, sentence(bug.scenario), bug.saved_by] for bug in BUGS
        ]
        caught = [set(row[3].partition(":")[0].split(", ")) for row in rows[1:]]
        assert [bug.name for bug, found in zip(BUGS, caught, strict=True) if not found >= bug.caught_by] == []


class TestTheProduct:
    @pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
    def test_is_found_in_order(self, stage: Stage, scenario: Scenario) -> None:
        verdict = play(replace(stage, patience=30), scenario)

        assert not verdict.violations, f"{verdict.violations}: {verdict.histories}"


class TestThePlantedBug:
    @pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
    def test_is_found(self, stage: Stage, bug: Bug, table: dict[str, str]) -> None:
        bug.plant(stage.patch)

        verdict = play(stage, bug.scenario)

        caught = {violation.invariant for violation in verdict.violations}
        assert caught >= bug.caught_by, verdict.violations
        # And by nothing else, but that a message or an order was still on its way when the patience ended.
        assert caught <= bug.caught_by | {"I7", "I11"}, verdict.violations
        table[bug.name] = row(bug, verdict)


def play(stage: Stage, scenario: Scenario) -> Verdict:
    expected = scenario(stage)
    return check_now(
        broken=expected.broken,
        lost_until=lost_until_now() if expected.kafka_may_lose else None,
        groups_at_the_end=True,
    )


def row(bug: Bug, verdict: Verdict) -> str:
    invariants = sorted({violation.invariant for violation in verdict.violations}, key=lambda name: int(name[1:]))
    placed = Order.objects.count()
    cells = [
        bug.name,
        bug.does,
        sentence(bug.scenario),
        f"{', '.join(invariants)}: {verdict}",
        f"{placed} order{'s' * (placed != 1)}" if placed else "1 record",
        bug.saved_by,
    ]
    return f"| {' | '.join(cells)} |"


def sentence(documented: object) -> str:
    """Its docstring on one line, without the full stop."""
    return " ".join(str(documented.__doc__).split()).removesuffix(".")
