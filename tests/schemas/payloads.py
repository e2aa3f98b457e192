"""Any payload that a published model can hold, and the message that carries it."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import strategies as st

from inventory.messages import StockRejected, StockReleased, StockReserved
from messaging.envelope import MAX_SEQUENCE, Envelope, Payload, Record, encode_headers
from orders.messages import Line, OrderCancelled, OrderPlaced

# PostgreSQL's text, in which each of these is kept: no NUL, no half of a surrogate pair.
TEXT = st.characters(blacklist_characters="\x00", blacklist_categories=["Cs"])


def text(*, up_to: int) -> st.SearchStrategy[str]:
    return st.text(TEXT, min_size=1, max_size=up_to)


LINES = st.builds(Line, sku=text(up_to=64), quantity=st.integers(1, 1_000_000))
PLACED = st.builds(
    OrderPlaced,
    order_id=st.uuids(),
    lines=st.lists(LINES, min_size=1, max_size=100, unique_by=lambda line: line.sku),
)
CANCELLED = st.builds(OrderCancelled, order_id=st.uuids())
RESERVED = st.builds(StockReserved, order_id=st.uuids())
REJECTED = st.builds(StockRejected, order_id=st.uuids(), reason=text(up_to=255))
RELEASED = st.builds(StockReleased, order_id=st.uuids())
PAYLOADS: st.SearchStrategy[Payload] = st.one_of(PLACED, CANCELLED, RESERVED, REJECTED, RELEASED)

TRACEPARENTS = st.from_regex(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True)
ENVELOPES = st.builds(
    Envelope,
    message_id=st.uuids(),
    message_type=text(up_to=255),
    source=text(up_to=255),
    partition_key=text(up_to=255),
    sequence=st.integers(1, MAX_SEQUENCE),
    payload=PAYLOADS.map(lambda payload: payload.model_dump_json()),
    occurred_at=st.datetimes(timezones=st.just(UTC)),
    traceparent=st.none() | TRACEPARENTS,
)


def carrying(payload: Payload, order_id: UUID) -> Envelope:
    """The payload as orders or inventory would have written it."""
    return Envelope(
        message_id=UUID(int=1),
        message_type=payload.message_type,
        source=payload.source,
        partition_key=str(order_id),
        sequence=1,
        payload=payload.model_dump_json(),
        occurred_at=datetime.now(UTC),
        traceparent=None,
    )


def record_of(envelope: Envelope) -> Record:
    """The envelope as Kafka would bring it."""
    return Record(
        topic="orders.events",
        partition=0,
        offset=0,
        leader_epoch=None,
        key=envelope.partition_key.encode(),
        value=envelope.payload.encode(),
        headers=tuple(
            (name, value.encode() if isinstance(value, str) else value) for name, value in encode_headers(envelope)
        ),
    )
