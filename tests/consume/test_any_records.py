"""hypothesis writes what nobody thought of: each record ends in exactly one place, and the next ones flow."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory.models import StockItem, StockMovement
from messaging.envelope import sha256
from messaging.models import DeadLetter, OutboxMessage, ParkedMessage, ProcessedMessage
from tests.consume.bad_records import REQUIRED
from tests.consume.messages import cancelled, placed
from tests.consume.raw_records import Place, Raw, raw, write
from tests.flow_tools import PARTITIONS, Flow

PLENTY = 1_000_000_000
BYTES = st.none() | st.binary(max_size=300) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
NAMES = st.sampled_from([*REQUIRED, "traceparent", "content-type"]) | st.text(
    st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20
)
HEADERS = st.lists(st.tuples(NAMES, BYTES), max_size=12)
STRANGERS = st.builds(Raw, key=BYTES, value=BYTES, headers=HEADERS)
IDS = st.uuids()


@dataclass(frozen=True)
class Change:
    """A few things that are wrong with a message at once. None: that part is left alone."""

    key: bytes | None
    value: bytes | None
    digest_fits: bool
    more: list[tuple[str, bytes | None]]
    instead: dict[str, bytes | None]
    dropped: set[str]

    def of(self, message: Raw) -> Raw:
        value = message.value if self.value is None else self.value
        digest = sha256(value or b"").encode() if self.digest_fits else None
        changed = self.instead | ({"ce_sha256": digest} if digest else {})
        headers = [(name, changed.get(name, data)) for name, data in message.headers if name not in self.dropped]
        return replace(message, key=self.key or message.key, value=value, headers=[*headers, *self.more])


CHANGES = st.builds(
    Change,
    key=st.none() | st.binary(max_size=40),
    value=st.none() | st.binary(max_size=100) | st.sampled_from([b"{}", b"null", b'{"order_id": null}']),
    digest_fits=st.booleans(),
    more=st.lists(st.tuples(NAMES, BYTES), max_size=2),
    instead=st.dictionaries(st.sampled_from(REQUIRED), BYTES, max_size=2),
    dropped=st.sets(st.sampled_from(REQUIRED), max_size=1),
)
MESSAGES = st.builds(lambda order_id, id_: placed(order_id=order_id, message_id=id_), IDS, IDS) | st.builds(
    lambda order_id, id_: replace(cancelled(order_id), message_id=id_), IDS, IDS
)
BROKEN = st.builds(lambda message, change: change.of(raw(message)), MESSAGES, CHANGES)
BATCHES = st.lists(STRANGERS | BROKEN, min_size=20, max_size=60)


# The fixture is made once for all examples: each looks only at the places of its own records.
A_FEW_EXAMPLES = settings(
    max_examples=15,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


class TestAnyRecord:
    @A_FEW_EXAMPLES
    @given(records=BATCHES)
    def test_ends_in_exactly_one_place_and_the_next_ones_flow(self, flow: Flow, records: list[Raw]) -> None:
        StockItem.objects.get_or_create(sku="SKU-A", defaults={"initial": PLENTY, "on_hand": PLENTY})
        places = write((number % PARTITIONS, record) for number, record in enumerate(records))
        good = [placed(quantity=3) for _ in range(PARTITIONS)]
        write((partition, raw(message)) for partition, message in enumerate(good))

        flow.consume_all("inventory")

        assert_one_end_each(records, places, consumer="inventory")
        taken = ProcessedMessage.objects.filter(message_id__in=[message.message_id for message in good])
        assert taken.count() == len(good)
        nothing_is_half_done()


def assert_one_end_each(records: Sequence[Raw], places: Sequence[Place], *, consumer: str) -> None:
    ends = [endings(record, place, consumer) for record, place in zip(records, places, strict=True)]
    assert [(place, found) for place, found in zip(places, ends, strict=True) if found != 1] == []


def endings(record: Raw, place: Place, consumer: str) -> int:
    """In how many ways the record at this place has ended; a redelivery ends where its first delivery did."""
    at = {"consumer": consumer, "partition": place[0], "offset": place[1]}
    letters = DeadLetter.objects.filter(**at).count()
    parked = ParkedMessage.objects.filter(**at).count()
    if letters or parked:
        return letters + parked
    if ProcessedMessage.objects.filter(**at).exists():
        return 1
    claimed = [data for name, data in record.headers if name == "ce_id"]
    text = claimed[0].decode() if isinstance(claimed[0], bytes) else claimed[0]
    return ProcessedMessage.objects.filter(consumer=consumer, message_id=text, redeliveries__gt=0).count()


def nothing_is_half_done() -> None:
    """The stock is what the ledger says, and each order that moved it was told once."""
    item = StockItem.objects.get(sku="SKU-A")
    moves = list(StockMovement.objects.values_list("order_id", "kind", "quantity"))
    assert item.on_hand == item.initial + sum(quantity for _, _, quantity in moves)
    told = Counter(
        (key, "reserve" if "reserved" in name else "release")
        for key, name in OutboxMessage.objects.exclude(message_type__contains="rejected").values_list(
            "partition_key", "message_type"
        )
    )
    assert told == Counter((str(order_id), kind) for order_id, kind, _ in moves)
