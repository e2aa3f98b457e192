"""A relay that ends with one half of its batch handed over: the other half was never sent, and nothing is lost."""

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message

from messaging.models import DeadLetter, OutboxPending
from messaging.produce.publisher import Publisher
from messaging.produce.shards import SHARDS
from orders.models import Order
from tests.factories import ApiClientFactory, LineFactory, StockItemFactory, place
from tests.faults.drained import check_now
from tests.flow_tools import Flow, wait_until
from tests.process_tools import Processes

pytestmark = pytest.mark.faults

ORDERS, HALF = 30, 15


@pytest.fixture
def waiting(flow: Flow) -> Flow:
    """Orders whose messages nobody has published yet."""
    StockItemFactory(sku="SKU-A", initial=100)
    client = ApiClientFactory()
    for _ in range(ORDERS):
        place(LineFactory(sku="SKU-A"), client=client)
    return flow


def relay_struck_by(faults: str, processes: Processes, hits: Path) -> subprocess.Popen[bytes]:
    """`manage.py relay` with these faults armed; what has struck stands in `hits`."""
    return processes.manage(
        "relay", DJANGO_SETTINGS_MODULE="faults.settings", FAULT=faults, FAULT_HITS=str(hits), ROLE="relay"
    )


def assert_all_went_the_whole_way(flow: Flow) -> None:
    flow.settle_everything()
    assert Order.objects.filter(status=Order.Status.CONFIRMED).count() == ORDERS
    assert not DeadLetter.objects.exists()
    verdict = check_now(groups_at_the_end=True)
    assert not verdict.violations, verdict.histories


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("action", ["kill", "term", "raise", "disconnect", "stop"])
def test_a_relay_may_end_after_it_published_half_of_its_batch(
    waiting: Flow, processes: Processes, tmp_path: Path, when: str, action: str
) -> None:
    fault = f"relay.publish:{when}:{action}:{HALF}"

    relay = relay_struck_by(fault, processes, tmp_path)
    wait_until((tmp_path / f"relay {fault}").exists, what="it struck")
    if action == "stop":
        # Its leases end, another publishes everything, and it wakes up with its half in hand.
        waiting.relay_all()
        relay.send_signal(signal.SIGCONT)
    relay.terminate()  # one that lives on would keep its leases
    relay.wait(60)

    assert_all_went_the_whole_way(waiting)


def test_a_relay_that_was_told_to_stop_may_die_while_it_waits_for_its_reports(
    waiting: Flow, processes: Processes, tmp_path: Path
) -> None:
    told, dies = f"relay.publish:after:term:{ORDERS}", "relay.collect:before:kill:1"

    relay = relay_struck_by(f"{told},{dies}", processes, tmp_path)
    relay.wait(60)

    assert {path.name for path in tmp_path.iterdir()} >= {f"relay {told}", f"relay {dies}"}
    assert OutboxPending.objects.count() == ORDERS
    assert_all_went_the_whole_way(waiting)


def test_a_report_that_cannot_be_taken_down_leaves_its_message_pending(
    waiting: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter = Publisher._reporter
    broken: list[int] = []

    def breaks_once(self: Publisher, published: Any, alone: bool) -> Any:
        report = reporter(self, published, alone)

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if not broken:
                broken.append(published.outbox_id)
                raise MemoryError("no room for the report")
            report(error, message)

        return on_delivery

    monkeypatch.setattr(Publisher, "_reporter", breaks_once)

    with pytest.raises(MemoryError):
        wait_until(lambda: waiting.relay.round(shards=list(range(SHARDS)), wait=0.2) and False, what="it breaks")

    assert set(broken) <= set(OutboxPending.objects.values_list("message_id", flat=True))
    waiting.relay._leave()
    assert_all_went_the_whole_way(waiting)
