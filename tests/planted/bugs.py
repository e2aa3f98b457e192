"""Bugs, each planted from outside into the running product: what careful people have really shipped.

A bug replaces a function or a setting of the product for one test. Where other defences of the product
would save the message, the bug takes those away too, and says so.
"""

import contextlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import KafkaException
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

import inventory.reservations
import inventory.services
from faults import losses
from messaging.consume import dead_letters, inbox, key_order, reader
from messaging.consume.delivery import Delivery
from messaging.consume.inbox import Taken
from messaging.consume.key_order import Admitted
from messaging.consume.reader import Reader
from messaging.envelope import Envelope, Payload
from messaging.models import AuditMark, ProcessedMessage
from messaging.produce import outbox, publisher, queue
from messaging.produce.publisher import Publisher
from messaging.produce.queue import Acknowledged, PendingMessage
from messaging.produce.relay import Relay
from messaging.prove import repair, retention
from messaging.registry import subscription
from messaging.store.kafka import admin_client, consumer_settings, producer_settings
from tests.consume.messages import TOPIC
from tests.flow_tools import produce_envelope

Patch = pytest.MonkeyPatch


@dataclass(frozen=True, slots=True)
class Bug:
    """`scenario` lets it bite; `caught_by` are the invariants that must then not hold."""

    name: str
    breaks: str
    saved_by: str
    scenario: str
    caught_by: frozenset[str]
    plant: Callable[[Patch], None]


BUGS: list[Bug] = []


def bug(*, breaks: str, saved_by: str, scenario: str, caught_by: str) -> Callable[[Callable[[Patch], None]], None]:
    """Declare the function as a planted bug; its name is the bug's."""

    def declare(plant: Callable[[Patch], None]) -> None:
        name = plant.__name__.replace("_", " ")
        BUGS.append(Bug(name, breaks, saved_by, scenario, frozenset(caught_by.split()), plant))

    return declare


# --- Production --------------------------------------------------------------------------------------


@bug(
    breaks="the row leaves the queue when `produce()` returns",
    saved_by="only the delivery report settles",
    scenario="relay dies while Kafka is away",
    caught_by="I8 I11",
)
def settled_before_the_report(patch: Patch) -> None:
    publish = Publisher.publish

    def and_settle(self: Publisher, message: PendingMessage) -> None:
        publish(self, message)
        queue.settle([Acknowledged(message.outbox_id, 0, 0)])

    patch.setattr(Publisher, "publish", and_settle)


@bug(
    breaks="the relay remembers the last id it saw and reads on from there",
    saved_by="every round reads the queue from its start",
    scenario="a slow transaction",
    caught_by="I7 I11",
)
def scan_by_id_greater_than_last(patch: Patch) -> None:
    fetch, last = queue.fetch, [0]

    def from_there(*, after: int, **arguments: Any) -> list[PendingMessage]:
        page = fetch(after=max(after, last[0]), **arguments)
        if page:
            last[0] = page[-1].outbox_id
        return page

    patch.setattr(queue, "fetch", from_there)


@bug(
    breaks="each relay takes what no other has taken, several of a key too; the consumer's order of keys is planted "
    "away with it",
    saved_by="one unacknowledged message a key, whoever else publishes; and a message that comes early parks",
    scenario="a relay stalls before it publishes, and another goes on",
    caught_by="I5 I11",
)
def two_relays_without_the_one_per_key_rule(patch: Patch) -> None:
    taken: set[int] = set()

    def skip_locked(self: Relay, shards: Sequence[int]) -> list[PendingMessage]:
        page = queue.fetch(shards=shards, in_flight=taken, after=0, limit=1000) if shards else []
        taken.update(message.outbox_id for message in page)
        return page

    patch.setattr(Relay, "_fetch", skip_locked)
    _plant_no_order_of_keys(patch)


@bug(
    breaks="the producer is made before the fork",
    saved_by="the relay makes its producer when it first publishes",
    scenario="the worker forks",
    caught_by="I7 I11",
)
def producer_made_before_the_fork(patch: Patch) -> None:
    make = Relay.__init__

    def at_once(self: Relay, *arguments: Any) -> None:
        make(self, *arguments)
        self._publisher = self._make_publisher()

    patch.setattr(Relay, "__init__", at_once)


@bug(
    breaks="the message is published in `on_commit`, without an outbox",
    saved_by="the message is a row of the order's transaction",
    scenario="the process dies right after COMMIT",
    caught_by="I1 I11",
)
def published_in_on_commit(patch: Patch) -> None:
    def later(payload: Payload, *, partition_key: str, sequence: int) -> uuid.UUID:
        envelope = Envelope(
            message_id=uuid.uuid4(), message_type=payload.message_type, source=payload.source,
            partition_key=partition_key, sequence=sequence, payload=payload.model_dump_json(),
            occurred_at=timezone.now(), traceparent=None,
        )  # fmt: skip
        transaction.on_commit(lambda: produce_envelope(payload.topic, envelope))
        return envelope.message_id

    patch.setattr(outbox, "append", later)


@bug(
    breaks="rows of unknown fate are deleted",
    saved_by="what is not acknowledged stays pending, for ever",
    scenario="Kafka is away for longer than the client tries",
    caught_by="I1 I11",
)
def pending_rows_deleted_when_kafka_is_down(patch: Patch) -> None:
    collect = Publisher.collect

    def and_delete(self: Publisher, timeout: float) -> Any:
        acknowledged, refused, unknown = collect(self, timeout)
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM outbox_pending WHERE outbox_id = ANY(%s)", [unknown])
        return acknowledged, refused, unknown

    patch.setattr(Publisher, "collect", and_delete)


@bug(
    breaks="acks=1 on a topic with min.insync.replicas=1",
    saved_by="acks=all with min.insync.replicas=2, which the doctor insists on",
    scenario="the leader dies before its followers have copied",
    caught_by="I1 I11",
)
def acks_1_with_min_isr_1(patch: Patch) -> None:
    losses._set(admin_client(), TOPIC, {"min.insync.replicas": "1"})
    patch.setattr(
        publisher, "producer_settings", lambda: producer_settings() | {"acks": "1", "enable.idempotence": False}
    )


# --- Consumption ---------------------------------------------------------------------------------------


@bug(
    breaks="the offset is committed before the database",
    saved_by="`run_once`: handle, then commit",
    scenario="a consumer dies in a batch",
    caught_by="I1 I11",
)
def offset_committed_before_the_database(patch: Patch) -> None:
    next_batch = Reader.next_batch

    def and_commit(self: Reader, timeout: float) -> Any:
        records = next_batch(self, timeout)
        if records:
            self.commit(records)
        return records

    patch.setattr(Reader, "next_batch", and_commit)


@bug(
    breaks="enable.auto.commit and enable.auto.offset.store are on, as librdkafka has them",
    saved_by="both are off",
    scenario="a consumer dies in a batch",
    caught_by="I1 I11",
)
def auto_commit_on(patch: Patch) -> None:
    patch.setattr(
        reader,
        "consumer_settings",
        lambda group: consumer_settings(group) | {"enable.auto.commit": True, "enable.auto.offset.store": True},
    )


@bug(
    breaks="`commit(asynchronous=True)` of what the client has stored, which is nothing; nobody reads the error",
    saved_by="a synchronous commit of named offsets, whose answers are read",
    scenario="orders flow",
    caught_by="I7",
)
def asynchronous_offset_commit_with_its_error_ignored(patch: Patch) -> None:
    def fire_and_forget(self: Reader, records: Any) -> None:
        with contextlib.suppress(KafkaException):
            self._consumer.commit(asynchronous=True)

    patch.setattr(Reader, "commit", fire_and_forget)


@bug(
    breaks="the inbox takes every message as new",
    saved_by="unique (message id, consumer)",
    scenario="a message is delivered twice",
    caught_by="I12",
)
def no_inbox_uniqueness(patch: Patch) -> None:
    _plant_no_inbox(patch)


@bug(
    breaks="a message is known by its place in the log instead of its id",
    saved_by="the inbox knows messages by their id",
    scenario="a message is delivered twice",
    caught_by="I12",
)
def dedupe_by_offset(patch: Patch) -> None:
    take = inbox.take

    def by_offset(consumer: str, deliveries: Sequence[Delivery]) -> Taken:
        known = set(ProcessedMessage.objects.filter(consumer=consumer).values_list("topic", "partition", "offset"))
        new = [d for d in deliveries if (d.record.topic, d.record.partition, d.record.offset) not in known]
        take(consumer, new)
        return Taken(new, [])

    patch.setattr(inbox, "take", by_offset)


@bug(
    breaks="the ledger has no unique constraint; inbox, order of keys and the reply's uniqueness are planted away too",
    saved_by="unique (order, SKU, kind), the last of four nets",
    scenario="a message is delivered twice",
    caught_by="I3",
)
def ledger_without_its_unique_constraint(patch: Patch) -> None:
    _plant_no_inbox(patch)
    _plant_no_order_of_keys(patch)
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
    breaks="a message of an unknown type is skipped",
    saved_by="it becomes a dead letter, and its key waits",
    scenario="a message of a version to come",
    caught_by="I12",
)
def unknown_type_skipped(patch: Patch) -> None:
    handle = inventory.reservations.handle
    known = ("orders.order_placed.v1", "orders.order_cancelled.v1")
    # What the subscription has imported already is what it calls.
    patch.setitem(
        subscription("inventory").__dict__,
        "handle",
        lambda envelopes: handle([e for e in envelopes if e.message_type in known]),
    )


@bug(
    breaks="dead letters are stored as text, and one with a NUL byte is given up",
    saved_by="they are stored as bytes",
    scenario="a record with a NUL byte",
    caught_by="I12",
)
def dead_letter_lost_on_a_nul_byte(patch: Patch) -> None:
    insert = dead_letters._insert

    def as_text(consumer: str, record: Any, why: Any) -> None:
        if b"\x00" not in (record.value or b""):
            insert(consumer, record, why)

    patch.setattr(dead_letters, "_insert", as_text)


# --- Storage, repair, retention ------------------------------------------------------------------------


@bug(
    breaks="an unclean leader election happens and nobody repairs",
    saved_by="unclean.leader.election.enable=false; and if it happens all the same, `audit --repair`",
    scenario="an unclean leader election",
    caught_by="I1 I11",
)
def unclean_election_without_repair(patch: Patch) -> None:
    patch.setattr(repair, "repair", lambda found: 0)


@bug(
    breaks="repair gives the message a new id",
    saved_by="the same message under the same id",
    scenario="a message that was put back turns up after all",
    caught_by="I12",
)
def repair_that_makes_a_new_message_id(patch: Patch) -> None:
    requeue = queue.requeue

    def reborn(outbox_ids: Sequence[int]) -> list[int]:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE outbox_message SET message_id = gen_random_uuid() WHERE id = ANY(%s)", [list(outbox_ids)]
            )
        return requeue(outbox_ids)

    patch.setattr(queue, "requeue", reborn)


@bug(
    breaks="prune goes by age alone",
    saved_by="prune stays below every subscriber's audit mark",
    scenario="a consumer is down for longer than the retention",
    caught_by="I1 I11",
)
def prune_that_outruns_the_subscribers(patch: Patch) -> None:
    prune = retention.prune

    def by_age(**arguments: Any) -> Any:
        AuditMark.objects.update(confirmed_to=2**60)
        return prune(**arguments)

    patch.setattr(retention, "prune", by_age)


def _plant_no_inbox(patch: Patch) -> None:
    take = inbox.take

    def all_new(consumer: str, deliveries: Sequence[Delivery]) -> Taken:
        take(consumer, deliveries)
        return Taken(list(deliveries), [])

    patch.setattr(inbox, "take", all_new)


def _plant_no_order_of_keys(patch: Patch) -> None:
    def all_ready(consumer: str, deliveries: Sequence[Delivery]) -> Admitted:
        key_order._lock_positions(consumer, {d.envelope.stream for d in deliveries})
        return Admitted(list(deliveries), [])

    patch.setattr(key_order, "admit", all_ready)
