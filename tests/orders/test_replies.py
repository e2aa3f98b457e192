"""What inventory's replies may do to an order, and what they may not."""

import json
import uuid
from dataclasses import replace

import pytest

from messaging.models import DeadLetter
from orders.models import Order
from tests.factories import place
from tests.flow_tools import Flow, produce_envelope
from tests.orders.replies import rejected, released, reserved

TOPIC = "inventory.events"


@pytest.fixture
def order(flow: Flow) -> Order:
    return Order.objects.get(pk=json.loads(place().answer)["id"])


class TestAReply:
    def test_confirms_a_pending_order(self, flow: Flow, order: Order) -> None:
        produce_envelope(TOPIC, reserved(order.pk))

        flow.consume_all("orders")

        order.refresh_from_db()
        assert order.status == Order.Status.CONFIRMED
        assert order.decided_at is not None

    def test_rejects_a_pending_order_with_its_reason(self, flow: Flow, order: Order) -> None:
        produce_envelope(TOPIC, rejected(order.pk, "none left"))

        flow.consume_all("orders")

        order.refresh_from_db()
        assert (order.status, order.rejection_reason) == (Order.Status.REJECTED, "none left")

    def test_of_an_order_that_nobody_knows_is_a_dead_letter(self, flow: Flow) -> None:
        produce_envelope(TOPIC, reserved(uuid.uuid4()))

        flow.consume_all("orders")

        assert DeadLetter.objects.get().reason == DeadLetter.Reason.REFUSED

    @pytest.mark.parametrize("second", [reserved, rejected, released], ids=lambda make: make.__name__)
    def test_that_would_change_a_rejected_order_is_a_dead_letter(self, flow: Flow, order: Order, second: type) -> None:
        produce_envelope(TOPIC, rejected(order.pk, "none left"))
        produce_envelope(TOPIC, second(order.pk, sequence=2))

        flow.consume_all("orders")

        order.refresh_from_db()
        assert order.status == Order.Status.REJECTED
        assert DeadLetter.objects.get().reason == DeadLetter.Reason.REFUSED

    def test_that_releases_an_order_nobody_asked_to_cancel_is_a_dead_letter(self, flow: Flow, order: Order) -> None:
        produce_envelope(TOPIC, reserved(order.pk))
        produce_envelope(TOPIC, released(order.pk, sequence=2))

        flow.consume_all("orders")

        order.refresh_from_db()
        assert order.status == Order.Status.CONFIRMED
        assert DeadLetter.objects.count() == 1

    def test_whose_reason_no_database_can_hold_is_a_dead_letter_and_the_order_waits(
        self, flow: Flow, order: Order
    ) -> None:
        reply = rejected(order.pk, "none left")
        produce_envelope(TOPIC, replace(reply, payload=reply.payload.replace(" ", "\\u0000")))

        flow.consume_all("orders")

        order.refresh_from_db()
        assert order.status == Order.Status.PENDING
        assert DeadLetter.objects.get().reason == DeadLetter.Reason.INVALID_PAYLOAD

    def test_that_comes_twice_decides_once(self, flow: Flow, order: Order) -> None:
        reply = reserved(order.pk)
        for _ in range(3):
            produce_envelope(TOPIC, reply)

        flow.consume_all("orders")

        order.refresh_from_db()
        assert order.status == Order.Status.CONFIRMED
        assert not DeadLetter.objects.exists()
