"""What happens to a message on its way from Kafka."""

import contextlib
import uuid
from typing import Any

from django.db import connection

import inventory.reservations
from devservices import BROKERS
from faults.system import System
from messaging.consume import consumer
from messaging.consume.reader import Reader
from messaging.envelope import encode_headers
from messaging.models import OutboxMessage
from messaging.registry import subscription
from messaging.store import kafka
from orders.models import Order
from orders.services import cancel_order
from tests.consume.messages import TOPIC, placed
from tests.factories import LineFactory, place
from tests.flow_tools import envelope_of, produce_envelope, produce_raw, wait_until
from tests.planted.stage import Died, Expected, Stage, a_child, consume, drain


def a_consumer_dies_in_a_batch(stage: Stage) -> Expected:
    """A consumer dies in the middle of a batch."""
    reserve, died = inventory.reservations.reserve, []

    def die_once(*arguments: Any) -> Any:
        if not died:
            died.append(1)
            raise Died
        return reserve(*arguments)

    stage.patch.setattr(inventory.reservations, "reserve", die_once)
    place(LineFactory(sku="SKU-A"))
    stage.flow.relay_all()
    with contextlib.suppress(Died):
        stage.flow.consume_all("inventory")
    connection.close()
    stage.flow.close()
    drain(stage)
    return Expected()


def a_message_is_delivered_twice(stage: Stage) -> Expected:
    """A message is delivered twice."""
    place(LineFactory(sku="SKU-A"))
    drain(stage)
    produce_envelope(TOPIC, envelope_of(OutboxMessage.objects.earliest("id").message_id))
    drain(stage)
    return Expected()


def an_order_s_cancellation_is_read_first(stage: Stage) -> Expected:
    """An order's cancellation is read before the order."""
    place(LineFactory(sku="SKU-A"))
    order = Order.objects.get()
    cancel_order(client_id=order.client_id, order_id=order.pk)
    produce_envelope(TOPIC, envelope_of(OutboxMessage.objects.latest("id").message_id))
    consume(stage.flow, "inventory", at_least=1)
    drain(stage)
    return Expected()


def the_coordinator_dies_before_a_commit_and_the_consumer_after_it(stage: Stage) -> Expected:
    """The group's coordinator dies before the commit of the last batch, and the consumer right after it."""
    place(LineFactory(sku="SKU-A"))
    stage.flow.relay_all()
    system, coordinator = stage.system, _coordinator(stage.system, "inventory")

    def consume_a_batch_and_die() -> None:
        apply_or_bury = consumer.apply_or_bury

        def and_lose_the_coordinator(*arguments: Any) -> None:
            apply_or_bury(*arguments)
            stage.patch.setattr(consumer, "apply_or_bury", apply_or_bury)
            system.kill(coordinator)

        stage.patch.setattr(consumer, "apply_or_bury", and_lose_the_coordinator)
        # Longer than a broker takes to start: so long a commit waits for its coordinator.
        stage.patch.setattr(kafka, "SESSION_TIMEOUT_MS", 20_000)
        mine, count = Reader(subscription("inventory")), 0
        # A commit that is refused while the coordinator moves is made again, by a reader that knows of it.
        while not count or mine._handled:
            count += consumer.run_once(subscription("inventory"), mine)

    before = system.process(coordinator).pid
    with a_child(consume_a_batch_and_die):
        wait_until(lambda: system.process(coordinator).pid not in (None, before), what="the coordinator starts again")
    system.stack.wait_ready(coordinator)
    # Nobody takes the dead consumer's place, who would read again and commit what it has not.
    drain(stage, groups=["orders"])
    return Expected()


def _coordinator(system: System, group: str) -> str:
    admin = system.admin()  # which must live until it has answered
    (answer,) = admin.describe_consumer_groups([group], request_timeout=10).values()
    return BROKERS[answer.result(10).coordinator.id - 1]


def a_message_of_a_version_to_come(stage: Stage) -> Expected:
    """A message of a version to come is in the log."""
    message = placed(message_type="orders.order_placed.v999")
    key, value = message.partition_key.encode(), message.payload.encode()
    place = produce_raw(TOPIC, key=key, value=value, headers=encode_headers(message))
    drain(stage)
    return Expected(broken=[(TOPIC, *place)])


def a_record_with_a_nul_byte(stage: Stage) -> Expected:
    """A record with a NUL byte is in the log."""
    place = produce_raw(TOPIC, key=b"k", value=b'{"name": "\x00"}', headers=[("ce_id", str(uuid.uuid4()))])
    drain(stage)
    return Expected(broken=[(TOPIC, *place)])
