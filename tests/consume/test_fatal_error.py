"""A client that can never work again ends its process, so that the supervisor starts a new one."""

import sys

import pytest

from inventory.models import StockItem
from messaging.models import DeadLetter
from tests.consume.fatal_client import FENCED
from tests.consume.messages import TOPIC, placed
from tests.factories import StockItemFactory
from tests.flow_tools import lag, produce_envelope, wait_until
from tests.process_tools import Processes

INVENTORY = "inventory"


@pytest.mark.parametrize("when", ["poll", "commit"])
class TestAFatalClientError:
    def test_ends_the_consumer_with_a_sentence_and_its_successor_goes_on(self, processes: Processes, when: str) -> None:
        StockItemFactory(sku="SKU-A", initial=10)
        produce_envelope(TOPIC, placed(quantity=3))

        dies = processes.start(sys.executable, "-m", "tests.consume.fatal_client", when, "consume", INVENTORY)

        assert dies.wait(60) == 1
        assert f"CommandError: {FENCED}" in processes.output(dies)
        assert "Traceback" not in processes.output(dies)
        assert lag(INVENTORY) == 1
        processes.manage("consume", INVENTORY)
        wait_until(lambda: lag(INVENTORY) == 0, what="the next process read on")
        assert StockItem.objects.get().on_hand == 7
        assert not DeadLetter.objects.exists()
