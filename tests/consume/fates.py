"""What became of each record of a catalogue: all written and consumed at once, then read from the database.

One batch for a hundred of them is quick, and is what a stranger's burst would look like.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from inventory.models import StockItem, StockMovement
from messaging.models import DeadLetter, OutboxMessage, ParkedMessage, ProcessedMessage
from tests.consume.messages import placed
from tests.consume.raw_records import Change, Place, Raw, raw, write
from tests.factories import StockItemFactory
from tests.flow_tools import PARTITIONS, Flow

INITIAL, BY_THE_RECORD, BY_THE_NEXT = 10, 1, 3


@dataclass(frozen=True)
class Fate:
    """What the consumer made of a record that wants 1 of its SKU, and of the good message behind it that wants 3."""

    record: Raw
    letters: list[DeadLetter]
    parked: int
    taken: int
    movements: int
    replies: int
    on_hand: int
    next_was_applied: bool


def assert_one_dead_letter(letters: list[DeadLetter], record: Raw, *, reason: str) -> None:
    """The record was kept to the byte, once and with its reason."""
    [letter] = letters
    assert letter.reason == reason
    assert letter.detail
    assert [part if part is None else bytes(part) for part in (letter.key, letter.value)] == [record.key, record.value]


def fates_of(changes: Mapping[str, Change], flow: Flow) -> dict[str, Fate]:
    """Write every changed message, and behind each, in its partition, a good message of another key. Consume all."""
    orders = {name: placed(sku=f"SKU-{number}", quantity=BY_THE_RECORD) for number, name in enumerate(changes)}
    nexts = {name: placed(sku=f"SKU-{number}", quantity=BY_THE_NEXT) for number, name in enumerate(changes)}
    records = {name: changes[name](orders[name]) for name in changes}
    for number in range(len(changes)):
        StockItemFactory(sku=f"SKU-{number}", initial=INITIAL)
    places = write((number % PARTITIONS, record) for number, record in enumerate(records.values()))
    write((number % PARTITIONS, raw(message)) for number, message in enumerate(nexts.values()))

    flow.consume_all("inventory")

    return {
        name: _fate(record, place, f"SKU-{number}", orders[name].partition_key, nexts[name].message_id)
        for number, ((name, record), place) in enumerate(zip(records.items(), places, strict=True))
    }


def _fate(record: Raw, place: Place, sku: str, order_key: str, next_id: UUID) -> Fate:
    at = {"consumer": "inventory", "partition": place[0], "offset": place[1]}
    return Fate(
        record=record,
        letters=list(DeadLetter.objects.filter(**at)),
        parked=ParkedMessage.objects.filter(**at).count(),
        taken=ProcessedMessage.objects.filter(**at).count(),
        movements=StockMovement.objects.filter(item_id=sku).count(),
        replies=OutboxMessage.objects.filter(partition_key=order_key).count(),
        on_hand=StockItem.objects.get(sku=sku).on_hand,
        next_was_applied=ProcessedMessage.objects.filter(message_id=next_id).exists(),
    )
