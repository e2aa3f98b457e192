"""PostgreSQL that loses connections, dies, and does what nobody hears of: nothing is lost or done twice."""

import json
import re
from collections.abc import Iterator

import pytest
from django.db import connection

from devservices import Stack
from faults.proxy import COMMIT, Proxy
from messaging.models import OutboxReceipt
from messaging.prove.audit import audit
from orders.models import Order
from tests.api_tools import ONE_LINE, Caller, Server, headers, length
from tests.faults.load import Load
from tests.faults.proof import assert_no_attempt_spent, assert_nothing_lost
from tests.faults.scene import FAULT_SECONDS, OUTAGE_SECONDS, Scene
from tests.flow_tools import wait_until
from tests.process_tools import Processes, environment

pytestmark = pytest.mark.faults

# The statement, and once the relay's connection has prepared it only its name with the three arrays.
SETTLE = re.compile(rb"WITH settled AS|_pg3_\d+\x00\x00\x03(?:\x00\x00){3}\x00\x03.{4}\{", re.DOTALL)


def through(proxy: Proxy) -> str:
    """The database's URL with the proxy's port in it."""
    return environment()["DATABASE_URL"].replace(f":{connection.settings_dict['PORT']}/", f":{proxy.port}/")


@pytest.fixture(scope="module")
def proxy(servers: Stack) -> Iterator[Proxy]:
    with Proxy(int(connection.settings_dict["PORT"])) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def running(servers: Stack, proxy: Proxy) -> Iterator[Scene]:
    with Scene(servers, env={"DATABASE_URL": through(proxy)}, proxies={"postgres": proxy}) as scene:
        yield scene


class TestConnections:
    def test_that_are_terminated_again_and_again_cost_nothing(self, scene: Scene) -> None:
        with Load() as load:
            load.wait_for(orders=20)
            # Every 2 seconds: three times at the least.
            scene.hold("postgres-terminate-backends", seconds=5)

        assert load.repeated > 0
        assert_nothing_lost(load)


class TestPostgreSQL:
    @pytest.mark.parametrize(
        ("fault", "seconds"),
        [
            ("postgres-restart-immediate", 0),
            ("postgres-kill", 0),
            ("postgres-pause", FAULT_SECONDS),
            ("postgres-line-cut", FAULT_SECONDS),
            ("postgres-commit-answer-cut", FAULT_SECONDS),
            ("postgres-down", OUTAGE_SECONDS),
        ],
    )
    def test_in_trouble_keeps_what_it_committed_and_everybody_waits_for_it(
        self, scene: Scene, fault: str, seconds: float
    ) -> None:
        with Load() as load:
            load.wait_for(orders=20)
            scene.hold(fault, seconds=seconds)
            load.wait_for(orders=20)

        assert_nothing_lost(load)


class TestACommitWhoseAnswerIsLost:
    def test_is_found_by_its_key_when_the_client_asks_again(self, scene: Scene) -> None:
        processes, caller = Processes(), Caller()
        with Proxy(int(connection.settings_dict["PORT"])) as proxy:
            server = Server(processes, DATABASE_URL=through(proxy))
            body = json.dumps(ONE_LINE).encode()
            good = headers(caller, length(body), key="once")
            line = proxy.cut_after(COMMIT, times=1)

            unsure, _, _ = server.ask("POST", "/api/orders", *good, body=body)
            status, received, answer = server.ask("POST", "/api/orders", *good, body=body)
            processes.end()

        assert line.hits == 1
        assert unsure == 503
        assert (status, received["idempotent-replayed"]) == (201, "true")
        assert [str(order.pk) for order in Order.objects.filter(client=caller.row)] == [json.loads(answer)["id"]]
        assert_nothing_lost()

    def test_of_a_consumer_is_a_redelivery_that_the_inbox_absorbs(self, scene: Scene, proxy: Proxy) -> None:
        redelivered = audit().redelivered
        with Load() as load:
            line = proxy.cut_after(COMMIT, times=5)
            wait_until(lambda: line.hits == 5, what="five answers were cut")

        assert assert_nothing_lost(load).redelivered > redelivered

    def test_of_a_relay_that_settled_leaves_the_receipt_and_nothing_pending(self, scene: Scene, proxy: Proxy) -> None:
        with Load() as load:
            line = proxy.cut_after(SETTLE, times=3)
            wait_until(lambda: line.hits == 3, what="three answers were cut")
            assert_no_attempt_spent()

        report = assert_nothing_lost(load)
        assert OutboxReceipt.objects.count() == report.written
