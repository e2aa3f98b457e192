"""The whole product as processes, once for a module: its crash points armed and disarmed between tests."""

import hashlib
from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient

from devservices import Stack
from faults.load import SKUS, Client, Seen
from faults.shop import Shop
from orders.models import ApiClient
from tests.factories import StockItemFactory
from tests.faults.scene import Scene
from tests.flow_tools import skip_what_the_log_holds
from tests.process_tools import environment


@pytest.fixture(scope="module")
def shop(stack: Stack, kafka: AdminClient, committed_rows: None) -> Iterator[Shop]:
    """Web, relay and both consumers with real commits, for all tests of the module."""
    for sku in SKUS:
        StockItemFactory(sku=sku, initial=1_000_000)
    skip_what_the_log_holds()
    # Short shifts: their end is a seam, too.
    running = Shop(stack, environment() | {"DJANGO_SETTINGS_MODULE": "faults.settings", "RELAY_SHIFT_SECONDS": "2"})
    digest = hashlib.sha256(running.env["API_TOKEN"].encode()).hexdigest()
    ApiClient.objects.create(name="faults", token_sha256=digest)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def seen() -> Seen:
    """What the clients of all tests of the module saw, for their orders stay."""
    return Seen()


@pytest.fixture
def client(shop: Shop, seen: Seen) -> Iterator[Client]:
    """A client of the API that repeats each POST until it is answered."""
    one = Client(shop.env["API_URL"], shop.env["API_TOKEN"], seen, patience=60)
    yield one
    one.close()


@pytest.fixture
def scene(running: Scene) -> Scene:
    """The module's `running` scene, healed: an order goes all the way and back."""
    running.wait_until_it_flows()
    return running


@pytest.fixture(scope="module")
def servers(stack: Stack, kafka: AdminClient, committed_rows: None) -> Stack:
    """The servers of `make test` with the declared topics and a database: for a `Scene` of the module's own."""
    return stack
