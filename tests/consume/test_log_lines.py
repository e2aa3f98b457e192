"""What ends elsewhere than in its handler is named in the log, by its message and its trace."""

import uuid
from dataclasses import replace

from structlog.testing import capture_logs
from structlog.typing import EventDict

from messaging import trace
from messaging.envelope import encode_headers
from tests.consume.messages import TOPIC, cancelled, placed
from tests.factories import StockItemFactory
from tests.flow_tools import Flow, produce_envelope, produce_raw

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def lines_named(event: str, flow: Flow) -> list[EventDict]:
    """What the consumer logs under this name while it takes all there is."""
    StockItemFactory(sku="SKU-A", initial=10)
    with capture_logs() as logged:
        flow.consume_all("inventory")
    return [line for line in logged if line["event"] == event]


class TestADeadLetter:
    def test_of_a_message_names_it_and_its_trace(self, flow: Flow) -> None:
        message = placed(message_type="orders.order_placed.v999", traceparent=TRACEPARENT)
        produce_envelope(TOPIC, message)

        (line,) = lines_named("dead letter", flow)

        assert line["message_id"] == str(message.message_id)
        assert line["trace_id"] == trace.id_of(TRACEPARENT)
        assert (line["consumer"], line["reason"], line["topic"]) == ("inventory", "unknown_type", TOPIC)

    def test_of_a_record_that_cannot_be_read_names_what_it_claims_to_be(self, flow: Flow) -> None:
        message = placed(traceparent=TRACEPARENT)
        partition, offset = produce_raw(TOPIC, key=b"k", value=b"no JSON", headers=encode_headers(message))

        (line,) = lines_named("dead letter", flow)

        assert (line["message_id"], line["trace_id"]) == (str(message.message_id), trace.id_of(TRACEPARENT))
        assert (line["partition"], line["offset"]) == (partition, offset)

    def test_of_a_sequence_that_was_taken_names_the_second_one(self, flow: Flow) -> None:
        order_id = uuid.uuid4()
        second = placed(order_id=order_id, traceparent=TRACEPARENT)
        produce_envelope(TOPIC, placed(order_id=order_id))
        produce_envelope(TOPIC, second)

        (line,) = lines_named("dead letter", flow)

        assert (line["message_id"], line["reason"]) == (str(second.message_id), "sequence_conflict")
        assert line["trace_id"] == trace.id_of(TRACEPARENT)


class TestAParkedMessage:
    def test_is_named_with_its_trace(self, flow: Flow) -> None:
        early = replace(cancelled(uuid.uuid4()), traceparent=TRACEPARENT)
        produce_envelope(TOPIC, early)

        (line,) = lines_named("parked until its predecessor comes", flow)

        assert (line["message_id"], line["trace_id"]) == (str(early.message_id), trace.id_of(TRACEPARENT))
