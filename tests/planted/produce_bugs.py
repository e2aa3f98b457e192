"""Bugs of production and storage: what was written does not reach Kafka, or does not stay there."""

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from faults.kafka_admin import set_topic
from messaging.envelope import Envelope, Payload
from messaging.produce import outbox, publisher, queue
from messaging.produce.publisher import Publisher
from messaging.produce.queue import Acknowledged, PendingMessage
from messaging.produce.relay import Relay
from messaging.store.kafka import admin_client, producer_settings
from tests.consume.messages import TOPIC
from tests.flow_tools import produce_envelope
from tests.planted.bug import Bug, Patch, declare, plant_no_order_of_keys
from tests.planted.produce_scenarios import (
    a_relay_stalls_before_it_publishes_and_another_goes_on,
    a_slow_transaction,
    kafka_is_away_for_longer_than_the_client_tries,
    relay_dies_while_kafka_is_away,
    the_leader_dies_before_its_followers_have_copied,
    the_process_dies_right_after_commit,
    the_worker_forks,
)

BUGS: list[Bug] = []
bug = partial(declare, BUGS)


@bug(
    saved_by="only the delivery report settles",
    scenario=relay_dies_while_kafka_is_away,
    caught_by="I1 I8 I11",
)
def settled_before_the_report(patch: Patch) -> None:
    """The row leaves the queue when `produce()` returns."""
    publish = Publisher.publish

    def and_settle(self: Publisher, message: PendingMessage) -> None:
        publish(self, message)
        queue.settle([Acknowledged(message.outbox_id, 0, 0)])

    patch.setattr(Publisher, "publish", and_settle)


@bug(
    saved_by="every round reads the queue from its start",
    scenario=a_slow_transaction,
    caught_by="I7 I11",
)
def scan_by_id_greater_than_last(patch: Patch) -> None:
    """The relay remembers the last id it saw and reads on from there."""
    fetch, last = queue.fetch, [0]

    def from_there(*, after: int, **arguments: Any) -> list[PendingMessage]:
        page = fetch(after=max(after, last[0]), **arguments)
        if page:
            last[0] = page[-1].outbox_id
        return page

    patch.setattr(queue, "fetch", from_there)


@bug(
    saved_by="one unacknowledged message a key, whoever else publishes; and a message that comes early parks",
    scenario=a_relay_stalls_before_it_publishes_and_another_goes_on,
    caught_by="I5 I11",
)
def two_relays_without_the_one_per_key_rule(patch: Patch) -> None:
    """Each relay takes what no other has taken, several of a key too; the consumer's order of keys is planted
    away with it."""
    taken: set[int] = set()

    def skip_locked(self: Relay, shards: Sequence[int]) -> list[PendingMessage]:
        page = queue.fetch(shards=shards, except_ids=taken, after=0, limit=1000) if shards else []
        taken.update(message.outbox_id for message in page)
        return page

    patch.setattr(Relay, "_fetch", skip_locked)
    plant_no_order_of_keys(patch)


@bug(
    saved_by="the relay makes its producer when it first publishes",
    scenario=the_worker_forks,
    caught_by="I7 I11",
)
def producer_made_before_the_fork(patch: Patch) -> None:
    """The producer is made before the fork."""
    make = Relay.__init__

    def at_once(self: Relay, *arguments: Any) -> None:
        make(self, *arguments)
        self._publisher = self._make_publisher()

    patch.setattr(Relay, "__init__", at_once)


@bug(
    saved_by="the message is a row of the order's transaction",
    scenario=the_process_dies_right_after_commit,
    caught_by="I1 I11",
)
def published_in_on_commit(patch: Patch) -> None:
    """The message is published in `on_commit`, without an outbox."""

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
    saved_by="what is not acknowledged stays pending, for ever",
    scenario=kafka_is_away_for_longer_than_the_client_tries,
    caught_by="I1 I11",
)
def pending_rows_deleted_when_kafka_is_down(patch: Patch) -> None:
    """Rows of unknown fate are deleted."""
    collect = Publisher.collect

    def and_delete(self: Publisher, timeout: float) -> Any:
        acknowledged, refused, unknown = collect(self, timeout)
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM outbox_pending WHERE outbox_id = ANY(%s)", [unknown])
        return acknowledged, refused, unknown

    patch.setattr(Publisher, "collect", and_delete)


@bug(
    saved_by="`acks=all` with min.insync.replicas=2, which the doctor insists on",
    scenario=the_leader_dies_before_its_followers_have_copied,
    caught_by="I1 I8 I11",
)
def acks_1_with_min_isr_1(patch: Patch) -> None:
    """`acks=1` on a topic with min.insync.replicas=1."""
    set_topic(admin_client(), TOPIC, {"min.insync.replicas": "1"})
    patch.setattr(
        publisher, "producer_settings", lambda: producer_settings() | {"acks": "1", "enable.idempotence": False}
    )
