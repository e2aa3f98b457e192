"""What we write is a CloudEvent to anybody, what anybody writes is read or refused, and both sides agree.

The oracle is the CloudEvents SDK, which the product does not use.
"""

import json
from dataclasses import replace
from uuid import UUID

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import example, given
from hypothesis import strategies as st

from inventory import reservations
from inventory.messages import StockRejected, StockReleased, StockReserved
from messaging.envelope import Envelope, Payload, Record, decode, encode_headers, sha256
from messaging.errors import Poison
from messaging.models import DeadLetter
from messaging.store import records
from orders import replies
from orders.messages import OrderCancelled, OrderPlaced
from tests.schemas.payloads import (
    CANCELLED,
    ENVELOPES,
    PLACED,
    REJECTED,
    RELEASED,
    RESERVED,
    carrying,
    record_of,
)


class TestAMessageOfOurs:
    @given(ENVELOPES)
    def test_is_the_same_event_to_the_cloudevents_sdk(self, envelope: Envelope) -> None:
        record = record_of(envelope)
        headers = {name: value or b"" for name, value in record.headers}

        event = from_binary(KafkaMessage(headers, record.key, record.value or b""), JSONFormat())

        assert isinstance(event, CloudEvent)
        assert event.get_id() == str(envelope.message_id)
        assert event.get_source() == envelope.source
        assert event.get_type() == envelope.message_type
        assert event.get_time() == envelope.occurred_at
        assert event.get_subject() == envelope.partition_key
        assert event.get_datacontenttype() == "application/json"
        assert event.get_extension("partitionkey") == envelope.partition_key
        assert event.get_extension("sequence") == str(envelope.sequence)
        assert event.get_data() == json.loads(envelope.payload)

    @given(ENVELOPES)
    def test_is_read_again_as_it_was_written(self, envelope: Envelope) -> None:
        assert decode(record_of(envelope)) == envelope


class TestAMessageOfTheCloudEventsSdk:
    @given(ENVELOPES)
    def test_is_read_when_it_carries_our_two_extensions(self, envelope: Envelope) -> None:
        data = json.loads(envelope.payload)
        value = JSONFormat().write_data(data, "application/json")
        event = CloudEvent(
            {
                "id": str(envelope.message_id),
                "source": envelope.source,
                "type": envelope.message_type,
                "specversion": "1.0",
                "time": envelope.occurred_at,
                "subject": envelope.partition_key,
                "datacontenttype": "application/json",
                "partitionkey": envelope.partition_key,
                "sequence": str(envelope.sequence),
                "sha256": sha256(value),
            },
            data,
        )

        written = to_binary(event, JSONFormat())

        assert isinstance(written.key, str)
        record = replace(
            record_of(envelope), key=written.key.encode(), value=written.value, headers=tuple(written.headers.items())
        )
        assert decode(record) == replace(envelope, payload=written.value.decode(), traceparent=None)


SOME = OrderCancelled(order_id=UUID(int=2))
NAMES = [name for name, _ in encode_headers(carrying(SOME, SOME.order_id))]
HEADERS = st.tuples(
    st.sampled_from([*NAMES, "traceparent"]) | st.text(),
    st.none() | st.binary() | st.text().map(lambda t: t.encode("utf-8", "replace")),
)


def fits_a_dead_letter(poison: Poison) -> None:
    assert poison.reason in DeadLetter.Reason.values
    assert poison.detail.encode()


class TestAnyRecord:
    """Whatever stands in the topic, it is a message or poison: any other error would be a crash loop."""

    @staticmethod
    def read(record: Record) -> Envelope | None:
        try:
            return decode(record)
        except Poison as error:
            poison = error
        fits_a_dead_letter(poison)
        return None

    @given(key=st.none() | st.binary(), value=st.none() | st.binary(), headers=st.lists(HEADERS))
    def test_of_random_bytes_is_a_message_or_poison(
        self, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
    ) -> None:
        self.read(Record("orders.events", 0, 0, None, key, value, tuple(headers)))

    @given(envelope=ENVELOPES, name=st.sampled_from(NAMES), value=st.none() | st.binary(max_size=300))
    @example(envelope=None, name="ce_sequence", value=b"0" * 10 + b"1" + b"9" * 200)
    @example(envelope=None, name="ce_time", value=b"0001-01-01T00:00:00+14:00")
    @example(envelope=None, name="ce_time", value=b"9999-12-31T23:59:59-14:00")
    @example(envelope=None, name="ce_id", value=b"{urn:uuid:}")
    def test_with_one_header_changed_fits_the_database_or_is_poison(
        self, envelope: Envelope | None, name: str, value: bytes | None
    ) -> None:
        original = record_of(envelope or carrying(SOME, SOME.order_id))
        changed = tuple((n, value if n == name else old) for n, old in original.headers)

        read = self.read(replace(original, headers=changed))

        if read is not None:
            assert 1 <= read.sequence < 2**31
            assert all(0 < len(text) <= 255 for text in (read.source, read.message_type, read.partition_key))
            assert "\x00" not in "".join((read.source, read.message_type, read.partition_key, read.payload))

    @given(
        envelope=ENVELOPES,
        value=st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
    )
    def test_of_any_json_is_read_when_it_is_an_object(self, envelope: Envelope, value: object) -> None:
        payload = json.dumps(value)

        read = self.read(record_of(replace(envelope, payload=payload)))

        assert (read is not None) == isinstance(value, dict)

    @given(envelope=ENVELOPES, traces=st.lists(st.none() | st.binary(), min_size=1, max_size=2))
    def test_with_a_damaged_or_doubled_trace_is_read_all_the_same(
        self, envelope: Envelope, traces: list[bytes | None]
    ) -> None:
        original = record_of(replace(envelope, traceparent=None))

        read = decode(replace(original, headers=original.headers + tuple(("traceparent", t) for t in traces)))

        assert replace(read, traceparent=None) == replace(envelope, traceparent=None)

    @given(envelope=ENVELOPES, value=st.none() | st.binary())
    def test_with_extensions_that_we_do_not_know_is_read_all_the_same(
        self, envelope: Envelope, value: bytes | None
    ) -> None:
        original = record_of(envelope)

        unknown = (("ce_dataschema", value), ("ce_dataschema", value), ("x-tenant", value))

        assert decode(replace(original, headers=original.headers + unknown)) == envelope


class BadlyNamedHeader:
    """A message of confluent-kafka 2.16.1 with a header whose name is not UTF-8, as a real one behaves."""

    def headers(self) -> None:
        raise SystemError("<method 'headers'> returned a result with an exception set")

    def topic(self) -> str:
        return "orders.events"

    def key(self) -> bytes:
        return b"k"

    def value(self) -> bytes:
        return b"{}"

    def partition(self) -> int:
        return 0

    offset = leader_epoch = partition


class TestARecordWithAHeaderThatHasNoReadableName:
    def test_is_poison_and_its_bytes_are_kept(self) -> None:
        record = records.record_of(BadlyNamedHeader())  # type: ignore[arg-type]

        assert (record.key, record.value) == (b"k", b"{}")
        with pytest.raises(Poison):
            decode(record)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
)


class TestAnyPayload:
    @given(order_id=JSON, lines=JSON, more=st.dictionaries(st.text(st.characters()), JSON))
    def test_fits_the_schema_or_is_poison(self, order_id: object, lines: object, more: dict[str, object]) -> None:
        payload = json.dumps({"order_id": order_id, "lines": lines, **more})
        envelope = replace(carrying(SOME, SOME.order_id), payload=payload)

        with pytest.raises(Poison) as refused:
            reservations._Placed.read(envelope)

        fits_a_dead_letter(refused.value)


class TestInventory:
    @given(PLACED)
    def test_reads_every_order_that_orders_can_write(self, placed: OrderPlaced) -> None:
        wanted = reservations._Placed.read(carrying(placed, placed.order_id)).wanted()

        assert wanted.order_id == placed.order_id
        assert wanted.quantities == {line.sku: line.quantity for line in placed.lines}

    @given(CANCELLED)
    def test_reads_every_cancellation_that_orders_can_write(self, cancelled: OrderCancelled) -> None:
        assert reservations._Cancelled.read(carrying(cancelled, cancelled.order_id)).order_id == cancelled.order_id


class TestOrders:
    @given(REJECTED)
    def test_reads_every_rejection_that_inventory_can_write(self, rejected: StockRejected) -> None:
        assert replies._Rejection.read(carrying(rejected, rejected.order_id)).reason == rejected.reason

    @given(RESERVED | RELEASED)
    def test_reads_every_other_reply_that_inventory_can_write(self, reply: StockReserved | StockReleased) -> None:
        assert replies._Reply.read(carrying(reply, reply.order_id)).order_id == reply.order_id


class TestAPayload:
    @pytest.mark.parametrize(
        ("payloads", "model"), [(PLACED, OrderPlaced), (REJECTED, StockRejected)], ids=["placed", "rejected"]
    )
    @given(data=st.data())
    def test_with_a_field_that_is_new_reads_the_same(
        self, payloads: st.SearchStrategy[Payload], model: type[Payload], data: st.DataObject
    ) -> None:
        payload = data.draw(payloads)
        grown = payload.model_dump_json()[:-1] + ', "gift_wrap": {"ribbon": true}}'

        assert model.read(replace(carrying(payload, payload.order_id), payload=grown)) == payload  # type: ignore[attr-defined]
