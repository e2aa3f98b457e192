"""Broken records among good ones, under load: each is set aside once, and no good message waits for long or is lost."""

import random
import threading
from uuid import UUID, uuid4

import pytest

from devservices import Stack
from faults.checker import Place
from messaging.models import DeadLetter, ParkedMessage
from orders.models import Order
from tests.consume.bad_records import CORRUPT, INVALID_PAYLOAD, UNKNOWN_TYPE, UNREADABLE
from tests.consume.messages import TOPIC, cancelled, placed
from tests.consume.raw_records import header, raw, write
from tests.faults.drained import check_now, nothing_travels, nothing_unread
from tests.faults.load import PLENTY, Load
from tests.faults.proof import patiently
from tests.faults.scene import Scene
from tests.flow_tools import PARTITIONS, wait_until
from tests.orders.replies import reserved

pytestmark = pytest.mark.faults

REPLIES = "inventory.events"
CATALOGUE = [*UNREADABLE.values(), *CORRUPT.values(), *UNKNOWN_TYPE.values(), *INVALID_PAYLOAD.values()]
POISON = 20  # of about 400 records in 10 s: more than one in a hundred
EVERY_SECONDS = 0.5


class TestPoisonUnderLoad:
    def test_is_set_aside_once_each_and_all_orders_end(self, servers: Stack) -> None:
        with Scene(servers) as scene:
            scene.wait_until_it_flows()
            pause = threading.Event()
            broken: list[Place] = []
            with Load() as load:
                for number, change in enumerate(random.sample(CATALOGUE, POISON)):
                    topic, message = ((TOPIC, placed(sku=PLENTY)), (REPLIES, reserved(uuid4())))[number % 2]
                    partition = number % PARTITIONS
                    [(_, offset)] = write([(partition, change(message))], topic=topic)
                    broken.append((topic, partition, offset))
                    pause.wait(EVERY_SECONDS)

            wait_until(patiently(lambda: nothing_travels() and nothing_unread()), what="everything is final")
            verdict = check_now(**load.answered(), broken=broken, groups_at_the_end=True)
            assert not verdict.violations, verdict.histories
            assert len(load.accepted) > 10 * POISON

    def test_in_an_order_s_own_stream_parks_that_order_s_messages_while_others_flow(self, servers: Stack) -> None:
        with Scene(servers) as scene:
            scene.wait_until_it_flows()
            ours = [placed(sku=PLENTY) for _ in range(5)]
            with Load() as load:
                for number, first in enumerate(ours):
                    later = cancelled(UUID(first.partition_key), sequence=2)
                    poison = header("ce_type", "orders.order_placed.v999")(first)
                    write([(number % PARTITIONS, poison), (number % PARTITIONS, raw(later))])
                load.wait_for(orders=100)

                wait_until(patiently(lambda: ParkedMessage.objects.count() == len(ours)), what="what follows is parked")
            wait_until(patiently(nothing_unread), what="all is read")
            accepted = Order.objects.filter(pk__in=load.accepted)
            wait_until(patiently(lambda: not accepted.filter(status=Order.Status.PENDING).exists()), what="others flow")
            assert DeadLetter.objects.filter(reason=DeadLetter.Reason.UNKNOWN_TYPE).count() == len(ours)
            assert set(ParkedMessage.objects.values_list("partition_key", flat=True)) == {
                first.partition_key for first in ours
            }
