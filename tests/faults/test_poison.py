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
from tests.consume.raw_records import Change, header, raw, write
from tests.faults.drained import check_now, nothing_travels, nothing_unread
from tests.faults.load import PLENTY, Load
from tests.faults.proof import patiently
from tests.faults.scene import Scene
from tests.flow_tools import PARTITIONS, wait_until
from tests.orders.replies import reserved

pytestmark = pytest.mark.faults

REPLIES = "inventory.events"
Reason = DeadLetter.Reason
EVERY_SECONDS = 0.5  # beside 20 records a second or more: a few in a hundred


def poisons() -> list[tuple[Reason, str, Change]]:
    """Some of each kind, and the topic to spoil: what does not fit an order may well fit a reply."""
    both = {Reason.UNREADABLE: random.sample(list(UNREADABLE.values()), 4), Reason.CORRUPT: list(CORRUPT.values())}
    of_orders = {
        Reason.UNKNOWN_TYPE: random.sample(list(UNKNOWN_TYPE.values()), 4),
        Reason.INVALID_PAYLOAD: random.sample(list(INVALID_PAYLOAD.values()), 4),
    }
    found = [(reason, TOPIC, change) for reason, changes in (both | of_orders).items() for change in changes]
    found += [(reason, REPLIES, change) for reason, changes in both.items() for change in changes]
    return random.sample(found, len(found))


class TestPoisonUnderLoad:
    def test_is_set_aside_once_each_and_all_orders_end(self, servers: Stack) -> None:
        with Scene(servers) as scene:
            scene.wait_until_it_flows()
            pause = threading.Event()
            broken: dict[Place, Reason] = {}
            with Load() as load:
                for number, (reason, topic, change) in enumerate(poisons()):
                    message = placed(sku=PLENTY) if topic == TOPIC else reserved(uuid4())
                    [(partition, offset)] = write([(number % PARTITIONS, change(message))], topic=topic)
                    broken[topic, partition, offset] = reason
                    pause.wait(EVERY_SECONDS)

            wait_until(patiently(lambda: nothing_travels() and nothing_unread()), what="everything is final")
            verdict = check_now(**load.answered(), broken=broken.keys(), groups_at_the_end=True)
            assert not verdict.violations, verdict.histories
            letters = DeadLetter.objects.all()
            assert {(one.topic, one.partition, one.offset): one.reason for one in letters} == broken
            assert len(load.accepted) > 5 * len(broken)

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
            assert DeadLetter.objects.filter(reason=Reason.UNKNOWN_TYPE).count() == len(ours)
            assert set(ParkedMessage.objects.values_list("partition_key", flat=True)) == {
                first.partition_key for first in ours
            }
