"""Broken records among good ones, under load: each is set aside once, and no good message waits for long or is lost."""

import threading
import uuid

import pytest

from devservices import Stack
from faults.checker import Place
from faults.offsets import READERS
from tests.faults.drained import check_now, nothing_travels, nothing_unread
from tests.faults.load import Load
from tests.faults.proof import patiently
from tests.faults.scene import Scene
from tests.flow_tools import produce_raw, wait_until

pytestmark = pytest.mark.faults

POISON = 20  # of about 400 records in 10 s: more than one in a hundred
EVERY_SECONDS = 0.5


class TestPoisonUnderLoad:
    def test_is_set_aside_once_each_and_all_orders_end(self, servers: Stack) -> None:
        with Scene(servers) as scene:
            scene.wait_until_it_flows()
            pause = threading.Event()
            broken: list[Place] = []
            with Load() as load:
                for number in range(POISON):
                    topic = list(READERS.values())[number % len(READERS)]
                    record = {"key": uuid.uuid4().hex.encode(), "value": b"no message of ours"}
                    broken.append((topic, *produce_raw(topic, **record)))
                    pause.wait(EVERY_SECONDS)

            wait_until(patiently(lambda: nothing_travels() and nothing_unread()), what="everything is final")
            verdict = check_now(**load.answered(), broken=broken, groups_at_the_end=True)
            assert not verdict.violations, verdict.histories
            assert len(load.accepted) > 10 * POISON
