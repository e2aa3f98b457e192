"""The schedule of `make chaos`: drawn from the seed alone, and no kind of fault is forgotten."""

import pytest

from faults.brokers import MIN_ISR_UNMET
from faults.chaos.schedule import CRASH_POINT, WEIGHTS, Planned, draw
from faults.servers import FAULTS


def drawn(seed: int) -> list[Planned]:
    """As `make chaos` does without further words."""
    return draw(seed=seed, seconds=600, per_minute=60)


class TestTheSchedule:
    def test_is_the_same_for_the_same_seed(self) -> None:
        assert drawn(1) == drawn(1) != drawn(2)

    def test_knows_every_fault(self) -> None:
        assert WEIGHTS.keys() == {CRASH_POINT, *FAULTS} - {MIN_ISR_UNMET}

    @pytest.mark.parametrize("seed", range(20))
    def test_of_ten_minutes_has_each_kind(self, seed: int) -> None:
        assert {planned.name for planned in drawn(seed)} == WEIGHTS.keys()

    def test_holds_only_the_kinds_that_were_asked_for(self) -> None:
        only = ["line-cut", "redis-down"]

        assert {planned.name for planned in draw(seed=1, seconds=60, per_minute=60, only=only)} == set(only)

    def test_of_no_faults_is_empty(self) -> None:
        assert draw(seed=1, seconds=0, per_minute=60) == []
