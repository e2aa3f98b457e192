"""Kafka loses what it acknowledged while the whole system runs: beat notices, and all is put back by itself."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial

import pytest
from django.utils import timezone

from config.celery import app
from devservices import BROKERS, Stack
from faults import losses, offsets
from faults.system import System
from messaging.models import OutboxReceipt, ProcessedMessage, RepairedMessage
from messaging.prove.losses import SECOND_LOOK_SECONDS
from tests.faults.drained import check_now, lost_until_now, nothing_travels, nothing_unread
from tests.faults.load import Load
from tests.faults.proof import assert_no_dead_letter, patiently
from tests.faults.scene import FLOW_UNDER_CELERY, Scene
from tests.flow_tools import wait_until

pytestmark = pytest.mark.faults

CONSUMER, TOPIC = "consume-inventory", "orders.events"
# As decision 0010 says; the rest is for two cores that are busy with a cluster.
NOTICED_SECONDS = app.conf.beat_schedule["audit"]["schedule"] + SECOND_LOOK_SECONDS
MARGIN_SECONDS = 15.0


@pytest.fixture(scope="module")
def running(servers: Stack) -> Iterator[Scene]:
    scene = Scene(servers, FLOW_UNDER_CELERY)
    # A group that is moved to the start would read what earlier tests wrote, which nobody here has placed.
    for topic in losses.TOPICS:
        losses.delete_records(scene.system, topic)
    with scene:
        yield scene


class TestALoss:
    @pytest.mark.parametrize(
        "lose",
        [
            partial(losses.make_again, topic=TOPIC),
            partial(losses.delete_records, topic=TOPIC),
            partial(losses.expire, topic=TOPIC),
            partial(losses.cut_tails, roles=BROKERS, bytes_each=1_000_000),
            lambda system: losses.elect_uncleanly(system, TOPIC, between=lambda: wait_for_unread(more=20)),
            partial(offsets.reset_offsets, group="inventory", to_end=True),
        ],
        ids=[
            "topic-made-again",
            "records-deleted",
            "retention-passed",
            "tail-cut-on-all-three",
            "unclean-election",
            "offsets-to-end",
        ],
    )
    def test_that_no_consumer_had_read_is_noticed_by_beat_and_put_back(
        self, scene: Scene, lose: Callable[[System], str], record_property: Callable[[str, object], None]
    ) -> None:
        with Load() as load:
            scene.system.stop(CONSUMER, orderly=True)
            try:
                wait_for_unread(more=20)
                began = timezone.now()
                lose(scene.system)
                lost_until = lost_until_now()
            finally:
                scene.system.start(CONSUMER)
            lost_at = time.monotonic()
            wait_until(
                patiently(RepairedMessage.objects.filter(repaired_at__gt=began).exists),
                what="beat puts back what was lost",
                seconds=NOTICED_SECONDS + MARGIN_SECONDS,
            )
            # `--junit-xml=FILE` tells it.
            record_property("noticed_after_s", round(time.monotonic() - lost_at, 1))

        assert_all_is_there_once(load, lost_until)


class TestEveryLoss:
    @pytest.mark.parametrize("fault", [fault.name for room in (losses, offsets) for fault in room.FAULTS])
    def test_under_the_whole_system_costs_no_effect(self, scene: Scene, fault: str) -> None:
        with Load() as load:
            load.wait_for(orders=20)
            scene.hold(fault)
            lost_until = lost_until_now()
            load.wait_for(orders=20)

        assert_all_is_there_once(load, lost_until)


def wait_for_unread(*, more: int) -> None:
    """Wait until so many more messages are acknowledged that nobody has read."""
    before = unread()
    wait_until(lambda: unread() >= before + more, what="messages are acknowledged that nobody has read")


def unread() -> int:
    """How many messages of orders are acknowledged and not taken."""
    taken = ProcessedMessage.objects.values("message_id")
    receipts = OutboxReceipt.objects.filter(message__source="orders")
    return receipts.exclude(message__message_id__in=taken).count()


def assert_all_is_there_once(load: Load, lost_until: dict[str, datetime]) -> None:
    wait_until(
        patiently(lambda: nothing_travels() and nothing_unread()),
        what="everything is final",
        seconds=NOTICED_SECONDS + 60,
    )
    assert_no_dead_letter()
    verdict = check_now(**load.answered(), lost_until=lost_until, groups_at_the_end=True)
    assert not verdict.violations, verdict.histories
