"""What happens to a message on its way from Kafka."""

import contextlib
import uuid
from typing import Any

from django.db import connection

import inventory.reservations
from messaging.models import OutboxMessage
from tests.consume.messages import TOPIC, placed
from tests.factories import LineFactory, place
from tests.flow_tools import envelope_of, produce_envelope, produce_raw
from tests.planted.stage import Died, Expected, Stage, drain


def orders_flow(stage: Stage) -> Expected:
    """Orders flow."""
    place(LineFactory(sku="SKU-A"))
    place(LineFactory(sku="SKU-A"))
    drain(stage.flow)
    return Expected()


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
    drain(stage.flow)
    return Expected()


def a_message_is_delivered_twice(stage: Stage) -> Expected:
    """A message is delivered twice."""
    place(LineFactory(sku="SKU-A"))
    drain(stage.flow)
    produce_envelope(TOPIC, envelope_of(OutboxMessage.objects.earliest("id").message_id))
    drain(stage.flow)
    return Expected()


def a_message_of_a_version_to_come(stage: Stage) -> Expected:
    """A message of a version to come is in the log."""
    produce_envelope(TOPIC, placed(message_type="orders.order_placed.v999"))
    drain(stage.flow)
    return Expected(dead_letters=1)


def a_record_with_a_nul_byte(stage: Stage) -> Expected:
    """A record with a NUL byte is in the log."""
    produce_raw(TOPIC, key=b"k", value=b'{"name": "\x00"}', headers=[("ce_id", str(uuid.uuid4()))])
    drain(stage.flow)
    return Expected(dead_letters=1)
