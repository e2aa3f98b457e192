"""A process whose clock is an hour off: only the database's clock counts, so nothing is lost, late or dated wrongly."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from django.apps import apps
from django.db import connection, models

from devservices import Stack
from faults.programs import HOUR, wrong_clock
from messaging.models import RelayShard
from messaging.produce.lease import LEASE_SECONDS
from orders.models import Order
from tests.api_tools import Caller, Server, headers, length
from tests.faults.load import PLENTY, Load
from tests.faults.proof import assert_nothing_lost
from tests.faults.scene import FLOW_UNDER_CELERY, Scene
from tests.process_tools import Processes

pytestmark = pytest.mark.faults


def wrong(seconds: int) -> dict[str, str]:
    """What the environment of a process needs, for its clock to be wrong by so much."""
    return wrong_clock({"DJANGO_SETTINGS_MODULE": "tests.settings"}, seconds)


def database_now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    return now


def dated_outside(begin: datetime, end: datetime) -> list[str]:
    """Every time in the tables of messaging, orders and inventory that is not between these two."""
    found = []
    for label in ("messaging", "orders", "inventory"):
        for model in apps.get_app_config(label).get_models():
            for field in model._meta.get_fields():
                if isinstance(field, models.DateTimeField):
                    inside = {f"{field.name}__range": (begin, end)}
                    rows = model._default_manager.exclude(**{field.name: None}).exclude(**inside)
                    found += [
                        f"{model.__name__}.{field.name}: {value}" for value in rows.values_list(field.name, flat=True)
                    ]
    return found


@pytest.fixture(scope="class")
def flow_off(servers: Stack) -> Iterator[Scene]:
    clocks = {"relay": wrong(HOUR), "consume-inventory": wrong(-HOUR), "consume-orders": wrong(HOUR)}
    with Scene(servers, env_of=clocks) as scene:
        yield scene


@pytest.fixture
def web_off() -> Iterator[Server]:
    """The API, in a process whose clock is an hour behind."""
    processes = Processes()
    try:
        yield Server(processes, **wrong(-HOUR))
    finally:
        processes.end()


# In these directions what beat sends seems an hour old to the worker: it must not have expired (TICK_EXPIRES_SECONDS).
@pytest.fixture(scope="class", params=[("beat", -HOUR), ("worker", HOUR)], ids=["beat", "worker"])
def celery_off(servers: Stack, request: pytest.FixtureRequest) -> Iterator[Scene]:
    role, seconds = request.param
    env_of = {role: wrong(seconds)}
    with Scene(servers, FLOW_UNDER_CELERY, env={"RELAY_SHIFT_SECONDS": "1"}, env_of=env_of) as scene:
        yield scene


@pytest.fixture(scope="class")
def set_back(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Once this file is there, the clock of `beat_set_back` is an hour behind."""
    return tmp_path_factory.mktemp("clock") / "set-back"


@pytest.fixture(scope="class")
def beat_set_back(servers: Stack, set_back: Path) -> Iterator[Scene]:
    with Scene(servers, FLOW_UNDER_CELERY, env_of={"beat": {**wrong(-HOUR), "CLOCK_SET_BY": str(set_back)}}) as scene:
        yield scene


class TestProcessesWithAWrongClock:
    def test_lose_nothing_and_date_everything_by_the_databases_clock(self, flow_off: Scene, web_off: Server) -> None:
        # The shards' rows are older than this test, and a lease ends some seconds after it.
        begin = database_now() - timedelta(minutes=5)
        flow_off.wait_until_it_flows()
        caller = Caller()

        with Load() as load:
            load.wait_for(orders=50)
            over_http = [placed_by(web_off, caller, number) for number in range(10)]
        for order_id in over_http[:5]:
            who = f"Authorization: Bearer {caller.token}"
            status, _, _ = web_off.ask("POST", f"/api/orders/{order_id}/cancel", who, length(b""))
            assert status == 202

        assert_nothing_lost(load, accepted=over_http)
        assert Order.objects.filter(client=caller.row, status=Order.Status.CANCELLED).count() == 5
        assert dated_outside(begin, database_now() + timedelta(seconds=10)) == []

    def test_hold_their_leases_as_long_as_anybody(self, flow_off: Scene) -> None:
        flow_off.wait_until_it_flows()

        flow_off.system.stop("relay")
        ends = max(RelayShard.objects.values_list("leased_until", flat=True))
        left = (ends - database_now()).total_seconds()
        flow_off.system.start("relay")

        assert left <= LEASE_SECONDS


def placed_by(server: Server, caller: Caller, number: int) -> UUID:
    """An order that was placed over HTTP."""
    body = json.dumps({"lines": [{"sku": PLENTY, "quantity": 1}]}).encode()
    status, _, answer = server.ask("POST", "/api/orders", *headers(caller, length(body), key=f"{number}"), body=body)
    assert status == 201
    return UUID(json.loads(answer)["id"])


class TestBeatAndWorkerWhoseClocksDiffer:
    def test_keep_the_relay_awake_all_the_same(self, celery_off: Scene) -> None:
        celery_off.wait_until_it_flows()

        with Load() as load:
            load.wait_for(orders=50)

        assert_nothing_lost(load)


class TestABeatWhoseClockIsSetBack:
    def test_wakes_a_worker_that_has_no_shift_to_go_on_with(self, beat_set_back: Scene, set_back: Path) -> None:
        beat_set_back.wait_until_it_flows()

        set_back.touch()
        beat_set_back.system.stop("worker")
        # What the dead worker had in hand would come back by itself, but in ten minutes (visibility_timeout).
        beat_set_back.system.start("worker")
        with Load() as load:
            load.wait_for(orders=50)

        assert_nothing_lost(load)
