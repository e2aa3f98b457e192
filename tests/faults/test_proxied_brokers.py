"""Every line to a broker is spoilt, in every way that a network can: what was acknowledged is there, once."""

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from devservices import Stack
from devservices.__main__ import VAR
from faults.network import broker_proxies
from faults.proxy import OFFSET_COMMIT_REQUEST, PRODUCE_REQUEST, Proxy
from faults.system import System
from messaging.models import OutboxPending
from messaging.registry import topics
from messaging.store.kafka import admin_client
from messaging.store.topics import create, missing
from tests.faults.load import Load
from tests.faults.proof import assert_no_attempt_spent, assert_nothing_lost
from tests.faults.scene import FAULT_SECONDS, Scene
from tests.flow_tools import wait_until

pytestmark = pytest.mark.faults

SECONDS_EACH = FAULT_SECONDS / 2


SPOIL: dict[str, Callable[[Proxy], None]] = {
    "cut": lambda proxy: proxy.cut(),
    "reset": lambda proxy: proxy.reset(),
    "late": lambda proxy: proxy.slow(delay=0.3),
    "narrow": lambda proxy: proxy.slow(bytes_per_second=2000),
    "deaf": lambda proxy: proxy.drop(requests=True),
    "dumb": lambda proxy: proxy.drop(answers=True),
}


@pytest.fixture(scope="module")
def proxied(servers: Stack) -> Iterator[Stack]:
    """A cluster of its own, whose brokers send their clients to proxies. This process goes past them."""
    VAR.mkdir(exist_ok=True)
    own = Stack(Path(tempfile.mkdtemp(prefix="ephemeral-", dir=VAR)))
    try:
        own.up(proxied=True)
        with override_settings(KAFKA_BOOTSTRAP_SERVERS=System(own, "").brokers()):
            create(admin_client(), missing(admin_client(), topics()))
            yield own
    finally:
        own.down(remove=True)


@pytest.fixture(scope="module")
def proxies(proxied: Stack) -> Iterator[dict[str, Proxy]]:
    proxies = broker_proxies(proxied)
    yield proxies
    for proxy in proxies.values():
        proxy.close()


@pytest.fixture(scope="module")
def running(proxied: Stack, proxies: dict[str, Proxy]) -> Iterator[Scene]:
    with Scene(proxied, proxies=proxies) as scene:
        yield scene


@pytest.fixture
def scene(running: Scene, proxies: dict[str, Proxy]) -> Iterator[Scene]:
    running.wait_until_it_flows()
    yield running
    for proxy in proxies.values():
        proxy.restore()


class TestALineToABroker:
    @pytest.mark.parametrize("spoilt", SPOIL)
    def test_spoilt_at_each_broker_in_turn_loses_nothing(
        self, scene: Scene, proxies: dict[str, Proxy], spoilt: str
    ) -> None:
        with Load() as load:
            for proxy in proxies.values():
                SPOIL[spoilt](proxy)
                time.sleep(SECONDS_EACH)
                proxy.restore()

        assert_nothing_lost(load.accepted)


class TestAllLines:
    def test_silent_at_once_settle_nothing_and_all_drains_after(self, scene: Scene, proxies: dict[str, Proxy]) -> None:
        with Load() as load:
            for proxy in proxies.values():
                proxy.drop(requests=True, answers=True)
            wait_until(lambda: OutboxPending.objects.count() > 0, what="messages wait")
            settled = scene.receipts()
            time.sleep(FAULT_SECONDS)
            assert scene.receipts() == settled
            assert_no_attempt_spent()
            for proxy in proxies.values():
                proxy.restore()

        assert_nothing_lost(load.accepted)


class TestAnAnswerOfABroker:
    @pytest.mark.parametrize("request_", [PRODUCE_REQUEST, OFFSET_COMMIT_REQUEST], ids=["produce", "offset commit"])
    def test_cut_off_after_it_was_done_is_asked_for_again(
        self, scene: Scene, proxies: dict[str, Proxy], request_: re.Pattern[bytes]
    ) -> None:
        before = sum(proxy.cuts for proxy in proxies.values())
        with Load() as load:
            for proxy in proxies.values():
                proxy.cut_after(request_)
            wait_until(lambda: sum(p.cuts for p in proxies.values()) >= before + 5, what="five answers were cut")
            for proxy in proxies.values():
                proxy.restore()

        assert_nothing_lost(load.accepted)
