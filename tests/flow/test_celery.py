"""Celery wakes the relay up: its ticks may be lost, doubled or late, and nothing else depends on them."""

from datetime import timedelta

import redis
from django.db import connection

from inventory.models import StockMovement
from messaging.models import OutboxPending, OutboxReceipt
from messaging.prove.audit import audit
from orders.models import Order
from tests.factories import LineFactory, StockItemFactory, place
from tests.flow_tools import held_up_at, wait_until
from tests.process_tools import Processes


def place_one(sku: str = "SKU-A") -> None:
    place(LineFactory(sku=sku, quantity=1))


def waiting_for(table: str) -> list[int]:
    """The backends that wait for the table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_locks WHERE relation = %s::regclass AND NOT granted", [table])
        return [pid for (pid,) in cursor.fetchall()]


class TestTwoBeatsAndSeveralWorkers:
    def test_publish_each_message_and_apply_it_once(self, processes: Processes, own_broker: str) -> None:
        StockItemFactory(sku="SKU-A", initial=1000)
        for _ in range(2):
            processes.celery("beat", "--pidfile=", CELERY_BROKER_URL=own_broker)
        for number in range(3):
            processes.celery(
                "worker", f"--hostname=w{number}@%h", CELERY_BROKER_URL=own_broker, RELAY_SHIFT_SECONDS="1"
            )
        for consumer in ("inventory", "orders"):
            processes.manage("consume", consumer)

        for _ in range(100):
            place_one()

        wait_until(lambda: Order.objects.filter(status="confirmed").count() == 100, what="all orders are confirmed")
        wait_until(lambda: not OutboxPending.objects.exists(), what="the queue is empty")
        assert StockMovement.objects.count() == 100
        assert OutboxReceipt.objects.count() == 200
        report = audit(deep=True)
        assert report.adds_up
        assert report.parked == report.dead_letters == 0


class TestAShift:
    def test_hands_over_to_the_next_without_a_tick_and_without_a_visible_pause(
        self, processes: Processes, own_broker: str
    ) -> None:
        from config.celery import app

        StockItemFactory(sku="SKU-A", initial=1000)
        processes.celery("worker", CELERY_BROKER_URL=own_broker, RELAY_SHIFT_SECONDS="0.1")
        with app.connection_for_write(own_broker) as connection:
            # The only tick there is: no beat runs.
            app.send_task("messaging.tasks.relay", connection=connection)

        for number in range(1, 31):
            place_one()
            wait_until(lambda n=number: OutboxReceipt.objects.count() == n, what=f"message {number} was acknowledged")

        receipts = OutboxReceipt.objects.select_related("message").order_by("pk")
        _, *waits = [receipt.acknowledged_at - receipt.message.created_at for receipt in receipts]
        # The first one waited for the worker's start. The others take several shifts, so that some meet each pause.
        assert max(waits) < timedelta(seconds=2)


class TestTheOtherTasks:
    def test_keep_no_message_waiting_however_long_they_take(self, processes: Processes, own_broker: str) -> None:
        StockItemFactory(sku="SKU-A", initial=1000)
        with held_up_at("dead_letter"):
            processes.celery("beat", "--pidfile=", CELERY_BROKER_URL=own_broker)
            processes.celery("worker", CELERY_BROKER_URL=own_broker, RELAY_SHIFT_SECONDS="0.5")
            wait_until(lambda: len(waiting_for("dead_letter")) == 3, what="audit, audit of everything and prune stand")

            for number in range(1, 6):
                place_one()
                wait_until(lambda n=number: OutboxReceipt.objects.count() == n, what=f"message {number} was published")


class TestRedis:
    def test_emptied_under_way_delays_and_loses_nothing(self, processes: Processes, own_broker: str) -> None:
        StockItemFactory(sku="SKU-A", initial=1000)
        processes.celery("beat", "--pidfile=", CELERY_BROKER_URL=own_broker)
        processes.celery("worker", CELERY_BROKER_URL=own_broker, RELAY_SHIFT_SECONDS="0.5")
        place_one()
        wait_until(lambda: OutboxReceipt.objects.count() == 1, what="the flow runs")

        for _ in range(5):
            redis.Redis.from_url(own_broker).flushdb()
            place_one()

        wait_until(lambda: OutboxReceipt.objects.count() == 6, what="all messages were acknowledged")


class TestAWorkerThatForks:
    def test_publishes_from_its_children(self, processes: Processes, own_broker: str) -> None:
        StockItemFactory(sku="SKU-A", initial=1000)
        processes.celery("beat", "--pidfile=", CELERY_BROKER_URL=own_broker)
        # Celery takes `--pool=prefork` for its own default, and ours goes before that.
        forking = ("worker", "--pool=processes", "--concurrency=2", "--max-tasks-per-child=1")
        processes.celery(*forking, CELERY_BROKER_URL=own_broker, RELAY_SHIFT_SECONDS="0.5")

        for number in range(1, 6):
            place_one()
            wait_until(lambda n=number: OutboxReceipt.objects.count() == n, what=f"message {number} was acknowledged")


class TestAKilledWorker:
    def test_leaves_what_it_had_in_hand_to_the_next(self, processes: Processes, own_broker: str) -> None:
        StockItemFactory(sku="SKU-A", initial=1000)
        processes.celery("beat", "--pidfile=", CELERY_BROKER_URL=own_broker)
        worker = processes.celery("worker", CELERY_BROKER_URL=own_broker)
        place_one()
        wait_until(lambda: OutboxReceipt.objects.count() == 1, what="the flow runs")

        with held_up_at("outbox_receipt"):
            for _ in range(50):
                place_one()
            wait_until(lambda: waiting_for("outbox_receipt"), what="it has published, and cannot settle")
            worker.kill()
            worker.wait(30)
            for backend in waiting_for("outbox_receipt"):  # it has not noticed, and would settle for the worker
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_terminate_backend(%s)", [backend])
        assert OutboxPending.objects.count() == 50
        processes.celery("worker", CELERY_BROKER_URL=own_broker)

        wait_until(lambda: OutboxReceipt.objects.count() == 51, what="all messages were acknowledged")


class TestAWorkerToldToStop:
    def test_ends_its_shift_and_lets_its_leases_go(self, processes: Processes, own_broker: str) -> None:
        from messaging.models import RelayShard

        processes.celery("beat", "--pidfile=", CELERY_BROKER_URL=own_broker)
        worker = processes.celery("worker", CELERY_BROKER_URL=own_broker, RELAY_SHIFT_SECONDS="60")
        wait_until(lambda: RelayShard.objects.exclude(owner="").exists(), what="the relay holds its shards")

        worker.terminate()

        assert worker.wait(30) == 0
        assert not RelayShard.objects.exclude(owner="").exists()
