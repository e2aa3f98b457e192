"""An empty database, some stock and all brokers in sync before each bug; and nothing of it left behind."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from devservices import BROKERS, Stack
from faults.kafka_admin import all_in_sync, set_topic
from faults.system import System
from messaging.consume import consumer
from tests.consume.messages import TOPIC
from tests.factories import StockItemFactory
from tests.flow_tools import Flow, wait_until
from tests.planted.stage import Stage
from tests.process_tools import environment


@pytest.fixture
def stage(flow: Flow, stack: Stack, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Stage]:
    system = System(stack, environment()["DATABASE_URL"])
    wait_until(lambda: all_in_sync(system.admin()), what="every broker has copied everything")
    StockItemFactory(sku="SKU-A", initial=100)
    monkeypatch.setattr(consumer, "POLL_SECONDS", 0.3)
    yield Stage(flow, monkeypatch, system, settings, patience=3)
    monkeypatch.undo()
    for role in BROKERS:
        system.resume(role)
        system.start(role)
        stack.wait_ready(role)
    wait_until(lambda: all_in_sync(system.admin()), what="every broker has copied everything")
    _mend(system)


def _mend(system: System) -> None:
    """Undo what bugs plant into the topic and the tables."""
    set_topic(system.admin(), TOPIC, {"min.insync.replicas": "2"})
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE inventory_stockmovement")
        cursor.execute(
            """
            ALTER TABLE inventory_stockmovement DROP CONSTRAINT IF EXISTS inventory_stockmovement_once;
            ALTER TABLE inventory_stockmovement
                ADD CONSTRAINT inventory_stockmovement_once UNIQUE (order_id, sku, kind)
            """
        )
