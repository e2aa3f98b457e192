"""Relay, consumers and worker do not start where Kafka can lose what it acknowledged, unless told to."""

from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient

from inventory.models import StockMovement
from messaging.models import OutboxReceipt
from messaging.registry import topics
from messaging.store.kafka_checks import examine_cluster
from tests.factories import LineFactory, StockItemFactory, place
from tests.flow_tools import wait_until
from tests.process_tools import Processes
from tests.store.test_topics import alter, ids

FOUND = "K-MIN-ISR orders.events"


@pytest.fixture
def unsafe_topic(processes: Processes, kafka: AdminClient) -> Iterator[None]:
    """One broker's word is enough for orders.events."""
    alter(kafka, "orders.events", "min.insync.replicas", "1")
    try:
        # Any broker may be asked, and each hears of it in its own time.
        wait_until(lambda: all(_unsafe_now(kafka) for _ in range(6)), what="every broker knows it")
        yield
    finally:
        mend(kafka)


def mend(kafka: AdminClient) -> None:
    alter(kafka, "orders.events", "min.insync.replicas", "2")
    wait_until(lambda: not any(_unsafe_now(kafka) for _ in range(6)), what="every broker knows it")


def _unsafe_now(kafka: AdminClient) -> bool:
    return "K-MIN-ISR" in ids(examine_cluster(kafka, topics()))


@pytest.mark.usefixtures("unsafe_topic")
class TestOnAnUnsafeTopic:
    @pytest.mark.parametrize("command", [["consume", "inventory"], ["relay"]], ids=lambda c: c[0])
    def test_relay_and_consumers_exit_and_name_it(self, processes: Processes, command: list[str]) -> None:
        process = processes.manage(*command)

        assert process.wait(60) == 1
        assert FOUND in processes.output(process)
        assert "--unsafe" in processes.output(process)
        assert "Traceback" not in processes.output(process)

    def test_relay_and_consumers_work_when_told_to(self, processes: Processes) -> None:
        StockItemFactory(sku="A", initial=10)
        started = [processes.manage("relay", "--unsafe"), processes.manage("consume", "inventory", "--unsafe")]

        place(LineFactory(sku="A", quantity=1))

        wait_until(StockMovement.objects.exists, what="the order was deducted")
        for process in started:
            assert "K-MIN-ISR" in processes.output(process)  # as a warning
            process.terminate()
            assert process.wait(60) == 0

    def test_a_worker_s_shift_is_refused_until_the_topic_is_mended(
        self, processes: Processes, kafka: AdminClient, own_broker: str
    ) -> None:
        place()
        processes.celery("beat", "--pidfile=", CELERY_BROKER_URL=own_broker)
        worker = processes.celery("worker", CELERY_BROKER_URL=own_broker)

        processes.wait_for_output(worker, FOUND)
        assert not OutboxReceipt.objects.exists()

        mend(kafka)

        wait_until(OutboxReceipt.objects.exists, what="the next tick's shift published it")
