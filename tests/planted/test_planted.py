"""The checker can fail: with each bug planted it turns red, and without any it is green."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from django.db import connection

from devservices import BROKERS, Stack
from faults import losses
from faults.checker import Verdict
from faults.system import System
from messaging.consume import consumer
from messaging.registry import topics
from orders.models import Order
from tests.consume.messages import TOPIC
from tests.factories import StockItemFactory
from tests.faults.drained import check_now
from tests.flow_tools import Flow, wait_until
from tests.planted.bugs import BUGS, Bug
from tests.planted.scenarios import SCENARIOS, Stage, all_in_sync
from tests.process_tools import environment

pytestmark = [pytest.mark.planted, pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")]


@pytest.fixture
def stage(
    kafka: AdminClient, stack: Stack, committed_db: None, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> Iterator[Stage]:
    """An empty log, an empty database and some stock."""
    system = System(stack, environment()["DATABASE_URL"])
    wait_until(lambda: all_in_sync(system), what="every broker has copied everything")
    for declared in topics():
        losses.delete_records(system, declared.name)
    StockItemFactory(sku="SKU-A", initial=100)
    monkeypatch.setattr(consumer, "POLL_SECONDS", 0.3)
    flow = Flow()
    yield Stage(flow, monkeypatch, stack, settings)
    flow.close()
    monkeypatch.undo()
    for role in BROKERS:
        stack.resume(role)
        stack.wait_ready(role)
    _mend_the_servers(system)


def _mend_the_servers(system: System) -> None:
    """Undo what bugs plant into the topic and the tables."""
    losses._set(system.admin(), TOPIC, {"min.insync.replicas": "2"})
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE inventory_stockmovement")
        cursor.execute(
            """
            ALTER TABLE inventory_stockmovement DROP CONSTRAINT IF EXISTS inventory_stockmovement_once;
            ALTER TABLE inventory_stockmovement
                ADD CONSTRAINT inventory_stockmovement_once UNIQUE (order_id, sku, kind)
            """
        )


@pytest.fixture(scope="session")
def table() -> Iterator[dict[str, str]]:
    """The rows of docs/planted-bugs.md by their bugs, written where PLANTED_TABLE says once every bug was found."""
    rows: dict[str, str] = {}
    yield rows
    if "PLANTED_TABLE" in os.environ and len(rows) == len(BUGS):
        Path(os.environ["PLANTED_TABLE"]).write_text(_HEAD + "".join(rows[bug.name] + "\n" for bug in BUGS))


_HEAD = """\
# Planted bugs

That a check is green says something only if it can be red. Each of these bugs is planted into the product from outside
([tests/planted/bugs.py](../tests/planted/bugs.py)), a small scenario lets it bite
([scenarios.py](../tests/planted/scenarios.py)), and the checker from outside
([faults/checker.py](../faults/checker.py)) must name the invariants that do not hold. The same scenarios without a
bug end with `lost 0, extra 0, stuck 0`. Written by `PLANTED_TABLE=docs/planted-bugs.md make test-planted`.

| bug | what it breaks | scenario | caught by | after | what saves the product |
|---|---|---|---|---|---|
"""


class TestTheProduct:
    @pytest.mark.parametrize("scenario", SCENARIOS)
    def test_is_found_in_order(self, stage: Stage, scenario: str) -> None:
        verdict = play(stage, scenario)

        assert not verdict.violations, verdict.histories


class TestThePlantedBug:
    @pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
    def test_is_found(self, stage: Stage, bug: Bug, table: dict[str, str]) -> None:
        bug.plant(stage.patch)

        verdict = play(stage, bug.scenario)

        caught = {violation.invariant for violation in verdict.violations}
        assert caught >= bug.caught_by, verdict.violations
        orders = Order.objects.count()
        table[bug.name] = (
            f"| {bug.name} | {bug.breaks} | {bug.scenario} | {', '.join(sorted(caught, key=lambda i: int(i[1:])))}: "
            f"{verdict} | {orders} order{'s' * (orders != 1)} | {bug.saved_by} |"
        )


class TestEveryScenario:
    def test_is_that_of_a_bug(self) -> None:
        assert {bug.scenario for bug in BUGS} == set(SCENARIOS)


def play(stage: Stage, scenario: str) -> Verdict:
    expected = SCENARIOS[scenario](stage)
    return check_now(
        expected_dead=expected.dead_letters,
        kafka_may_lose=expected.kafka_may_lose,
        groups_at_the_end=not expected.kafka_may_lose,
    )
