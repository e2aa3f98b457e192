"""Bugs of consumption: no effect of a message, or two."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction

import inventory.reservations
import inventory.services
from inventory.models import StockMovement
from messaging.consume import dead_letters, inbox, key_order, reader
from messaging.consume.delivery import Delivery
from messaging.consume.inbox import Taken
from messaging.consume.key_order import Admitted
from messaging.consume.reader import Reader
from messaging.models import KeyPosition, ProcessedMessage
from messaging.registry import subscription
from messaging.store.kafka import consumer_settings
from orders.models import OrderLine
from tests.planted.bug import Bug, Patch, declare, plant_no_inbox, plant_no_order_of_keys
from tests.planted.consume_scenarios import (
    a_consumer_dies_in_a_batch,
    a_message_is_delivered_twice,
    a_message_of_a_version_to_come,
    a_record_with_a_nul_byte,
    an_order_s_cancellation_is_read_first,
    the_coordinator_dies_before_a_commit_and_the_consumer_after_it,
)

BUGS: list[Bug] = []
bug = partial(declare, BUGS)


@bug(
    saved_by="`run_once`: apply, then tell the reader",
    scenario=a_consumer_dies_in_a_batch,
    caught_by="I1 I11",
)
def offset_committed_before_the_database(patch: Patch) -> None:
    """The offset is committed before the database."""
    next_batch = Reader.next_batch

    def and_commit(self: Reader, timeout: float) -> Any:
        records = next_batch(self, timeout)
        if records:
            self.handled(records)
            self._commit_offsets()  # at once, not within a tenth of a second
        return records

    patch.setattr(Reader, "next_batch", and_commit)


@bug(
    saved_by="both are off",
    scenario=a_consumer_dies_in_a_batch,
    caught_by="I1 I11",
)
def auto_commit_on(patch: Patch) -> None:
    """`enable.auto.commit` and `enable.auto.offset.store` are on, as librdkafka has them."""
    patch.setattr(
        reader,
        "consumer_settings",
        lambda group: consumer_settings(group) | {"enable.auto.commit": True, "enable.auto.offset.store": True},
    )


@bug(
    saved_by="a synchronous commit, whose answers are read; and if it fails all the same, the inbox",
    scenario=the_coordinator_dies_before_a_commit_and_the_consumer_after_it,
    caught_by="I7",
)
def asynchronous_offset_commit_with_its_error_ignored(patch: Patch) -> None:
    """`commit(asynchronous=True)` of the right offsets: it returns at once, and nobody reads what became of it."""

    def fire_and_forget(self: Reader, records: Any) -> None:
        self._consumer.commit(offsets=reader._next_offsets(records), asynchronous=True)

    patch.setattr(Reader, "handled", fire_and_forget)


@bug(
    saved_by="each stream's position: what is early parks; and a release of what the ledger has reserved, no more",
    scenario=an_order_s_cancellation_is_read_first,
    caught_by="I5",
)
def applied_as_it_comes(patch: Patch) -> None:
    """Inventory applies messages as they come, notes the highest sequence, and puts back what the order wanted
    without looking into the ledger."""
    admit, advance = key_order.admit, key_order.advance

    def all_ready(consumer: str, deliveries: Sequence[Delivery]) -> Admitted:
        if consumer != "inventory":
            return admit(consumer, deliveries)
        key_order._lock_positions(consumer, {delivery.envelope.stream for delivery in deliveries})
        return Admitted(list(deliveries), [])

    def highest(consumer: str, applied: Sequence[Delivery]) -> list[Delivery]:
        if consumer != "inventory":
            return advance(consumer, applied)
        for envelope in (delivery.envelope for delivery in applied):
            position = KeyPosition.objects.filter(partition_key=envelope.partition_key, source=envelope.source)
            position.filter(consumer=consumer, last_sequence__lt=envelope.sequence).update(
                last_sequence=envelope.sequence
            )
        return []

    def put_back(order_ids: Sequence[UUID]) -> set[UUID]:
        lines = OrderLine.objects.filter(order_id__in=order_ids)
        inventory.services._move(
            StockMovement.Kind.RELEASE, [(line.order_id, line.sku, line.quantity) for line in lines]
        )
        return set(order_ids)

    patch.setattr(key_order, "admit", all_ready)
    patch.setattr(key_order, "advance", highest)
    patch.setattr(inventory.reservations, "release", put_back)


@bug(
    saved_by="unique (message id, consumer)",
    scenario=a_message_is_delivered_twice,
    caught_by="I12",
)
def no_inbox_uniqueness(patch: Patch) -> None:
    """The inbox takes every message as new."""
    plant_no_inbox(patch)


@bug(
    saved_by="the inbox knows messages by their id",
    scenario=a_message_is_delivered_twice,
    caught_by="I12",
)
def dedupe_by_offset(patch: Patch) -> None:
    """A message is known by its place in the log instead of its id."""
    take = inbox.take

    def by_offset(consumer: str, deliveries: Sequence[Delivery]) -> Taken:
        known = set(ProcessedMessage.objects.filter(consumer=consumer).values_list("topic", "partition", "offset"))
        new = [d for d in deliveries if (d.record.topic, d.record.partition, d.record.offset) not in known]
        take(consumer, new)
        return Taken(new, [])

    patch.setattr(inbox, "take", by_offset)


@bug(
    saved_by="unique (order, SKU, kind), the last of four nets",
    scenario=a_message_is_delivered_twice,
    caught_by="I3",
)
def ledger_without_its_unique_constraint(patch: Patch) -> None:
    """The ledger has no unique constraint; inbox, order of keys and the reply's uniqueness are planted away too."""
    plant_no_inbox(patch)
    plant_no_order_of_keys(patch)
    append_all = inventory.reservations.append_all

    def once(drafts: Any) -> Any:
        try:
            with transaction.atomic():
                return append_all(drafts)
        except IntegrityError:
            return []

    patch.setattr(inventory.reservations, "append_all", once)
    patch.setattr(
        inventory.services,
        "_MOVE",
        inventory.services._MOVE.replace("ON CONFLICT (order_id, sku, kind) DO NOTHING", ""),
    )
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE inventory_stockmovement DROP CONSTRAINT inventory_stockmovement_once")


@bug(
    saved_by="it becomes a dead letter, and its key waits",
    scenario=a_message_of_a_version_to_come,
    caught_by="I2 I12",
)
def unknown_type_skipped(patch: Patch) -> None:
    """A message of an unknown type is skipped."""
    handle = inventory.reservations.handle
    known = ("orders.order_placed.v1", "orders.order_cancelled.v1")
    # What the subscription has imported already is what it calls.
    patch.setitem(
        subscription("inventory").__dict__,
        "handle",
        lambda envelopes: handle([e for e in envelopes if e.message_type in known]),
    )


@bug(
    saved_by="they are stored as bytes",
    scenario=a_record_with_a_nul_byte,
    caught_by="I12",
)
def dead_letter_lost_on_a_nul_byte(patch: Patch) -> None:
    """Dead letters are stored as text, and one with a NUL byte is given up."""
    insert = dead_letters._insert

    def as_text(consumer: str, record: Any, **why: Any) -> None:
        if b"\x00" not in (record.value or b""):
            insert(consumer, record, **why)

    patch.setattr(dead_letters, "_insert", as_text)
