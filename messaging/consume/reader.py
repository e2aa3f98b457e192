"""Read batches from Kafka, and commit the offsets of those that were handled.

What the caller calls handled is remembered, and committed when that is due: at most every COMMIT_SECONDS, where the
topic falls quiet, before a partition is let go, and at the end. See decision 0014. `next_offset` of a partition is the
offset of the last handled record + 1: that is what is committed.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from messaging.consume.blind import Partition, overlooked
from messaging.envelope import Record
from messaging.errors import FatalClientError
from messaging.registry import Subscription
from messaging.store.kafka import consumer_settings
from messaging.store.records import record_of

log = structlog.get_logger(__name__)

BATCH = 500
GATHER_SECONDS = 0.002  # what arrives this soon after a first record shares its transaction
COMMIT_SECONDS = 0.1  # offsets are committed this often; a crash brings again what was handled since, and the batch
QUIET_SECONDS = 15.0  # of a partition without a record, after which another client looks whether there is one
SUSPECT_SECONDS = 5.0  # … and looks again, before this one is given up as blind
REFUSED_SECONDS = 1.0  # … and this long after a commit was refused
CANNOT_BE_UNPACKED = "cannot-be-unpacked"  # the only header of such a record; its value is the client's reason


class Reader:
    """One member of a consumer group. Every method must be called from the same thread."""

    def __init__(self, subscription: Subscription) -> None:
        self._handled: dict[Partition, Record] = {}  # the last one of each partition, its offset not committed yet
        self._commit_due = 0.0
        self._look_at: dict[Partition, float] = {}  # when another client looks whether there is more in it
        self._suspected = ""  # what that one read there, and this one did not
        self._consumer = Consumer(consumer_settings(subscription.consumer))
        self._consumer.subscribe(
            list(subscription.topics),
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_lost,
        )

    def next_batch(self, timeout: float) -> list[Record]:
        """The next records in the order of each partition; empty when none came within `timeout` seconds.

        Raises FatalClientError when this member can never read again.
        """
        first = self._consumer.poll(min(timeout, COMMIT_SECONDS) if self._handled else timeout)
        messages = [first, *self._consumer.consume(BATCH - 1, GATHER_SECONDS)] if first is not None else []
        mine = {(part.topic, part.partition) for part in self._consumer.assignment()}
        # A rebalance inside these two calls may have given a partition away.
        records = [self._record(m) for m in messages if _is_record(m) and (m.topic(), m.partition()) in mine]
        self._trust({(record.topic, record.partition) for record in records})
        if len(messages) < BATCH:  # of a full batch the client may have more in hand, of the other partitions too
            self._raise_if_blind()
        if not records:
            self._commit_if_due()
        return records

    def handled(self, records: Sequence[Record]) -> None:
        """Remember these records, whose effects are committed: their offsets are committed now, or with the next ones,
        as an offset commit costs the brokers as much as a message."""
        self._handled |= {(record.topic, record.partition): record for record in records}
        self._commit_if_due()

    def rewind(self, records: Sequence[Record], *, wait: float) -> None:
        """Go back to before these records and rest for `wait` seconds, without leaving the group."""
        unhandled = list(records)
        self._consumer.pause(self._consumer.assignment())
        rested_at = time.monotonic() + wait
        while (rest := rested_at - time.monotonic()) > 0:
            # Polling keeps the membership alive. It can bring a record all the same, of a partition
            # that was assigned only now: that one must be read again too.
            message = self._consumer.poll(min(rest, 1.0))
            if message is not None and _is_record(message):
                unhandled.append(record_of(message))
        mine = self._consumer.assignment()
        for part in _first_offsets(unhandled):
            if any((part.topic, part.partition) == (m.topic, m.partition) for m in mine):
                self._consumer.seek(part)
        self._consumer.resume(mine)
        self._trust((part.topic, part.partition) for part in mine)

    def close(self) -> None:
        """Commit what is handled, and leave the group."""
        try:
            self._commit_offsets()
        finally:
            self._consumer.close()

    def _raise_if_blind(self) -> None:
        """Raise FatalClientError when another client reads a record in a quiet partition, twice the same one, which
        this client does not read."""
        now = time.monotonic()
        quiet = [partition for partition, look_at in self._look_at.items() if look_at <= now]
        if not quiet:
            return
        place = overlooked(self._consumer, quiet)
        if place and place == self._suspected:
            raise FatalClientError(f"this client reads nothing there any more, and another one reads {place}")
        self._suspected = place
        self._trust(quiet, seconds=SUSPECT_SECONDS if place else QUIET_SECONDS)

    def _trust(self, partitions: Iterable[Partition], *, seconds: float | None = None) -> None:
        """These partitions gave a sign of life, or get the time for one."""
        look_at = time.monotonic() + (QUIET_SECONDS if seconds is None else seconds)
        self._look_at |= dict.fromkeys(partitions, look_at)

    def _commit_if_due(self) -> None:
        if time.monotonic() >= self._commit_due:
            self._commit_offsets()

    def _commit_offsets(self) -> None:
        """Commit what is handled, if anything is, and wait for the answer of each partition.

        A refusal is no loss: the records are delivered again, and the inbox absorbs them. But a member that keeps
        its partition in a rebalance gets nothing again, so what was refused is committed with the next.
        """
        if not self._handled:
            return
        self._commit_due = time.monotonic() + COMMIT_SECONDS
        offsets = _next_offsets(self._handled.values())
        try:
            answers = self._commit(offsets)
        except KafkaException as error:
            _raise_if_fatal(error.args[0])
            log.warning("offsets not committed, trying again", error=str(error.args[0]))
            self._commit_due = time.monotonic() + REFUSED_SECONDS
            return
        for answer in answers:
            if answer.error:
                log.warning(
                    "offset not committed, trying again",
                    topic=answer.topic,
                    partition=answer.partition,
                    error=str(answer.error),
                )
                self._commit_due = time.monotonic() + REFUSED_SECONDS
            else:
                self._handled.pop((answer.topic, answer.partition), None)

    def _commit(self, offsets: list[TopicPartition]) -> list[TopicPartition]:
        """The commit alone. A step of its own, so that a crash before and after it can be tested."""
        return self._consumer.commit(offsets=offsets, asynchronous=False) or []

    def _record(self, message: Message) -> Record:
        """The record; without its bytes where they cannot be unpacked, and reading goes on behind it."""
        record = record_of(message)
        error = message.error()
        if error is None:
            return record
        # The client would ask for the same bytes for ever, and nothing behind them would be read.
        self._consumer.seek(TopicPartition(record.topic, record.partition, record.offset + 1))
        return replace(record, key=None, value=None, headers=((CANNOT_BE_UNPACKED, error.str().encode()),))

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("partitions assigned", partitions=_names(partitions))
        self._trust((part.topic, part.partition) for part in partitions)

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        # Called within a poll: what is handled is committed before the next owner begins. A batch in hand (while it
        # rests) is not handled, and is delivered to that one.
        log.info("partitions revoked", partitions=_names(partitions))
        self._commit_offsets()
        self._forget(partitions)

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        # Another member has them already: never commit them now.
        log.warning("partitions lost", partitions=_names(partitions))
        self._forget(partitions)

    def _forget(self, partitions: Iterable[TopicPartition]) -> None:
        for part in partitions:
            self._handled.pop((part.topic, part.partition), None)
            self._look_at.pop((part.topic, part.partition), None)


def _is_record(message: Message) -> bool:
    """Whether it is a record; the client's own trouble is logged. Raises FatalClientError."""
    error = message.error()
    # What claims to unpack to more than the client takes (receive.message.max.bytes, 100 MB) is a record too,
    # and its writer's fault: its CRC was right.
    if error is None or error.code() == KafkaError._BAD_COMPRESSION:
        return True
    _raise_if_fatal(error)
    log.warning("kafka consumer", error=error.str())
    return False


def _raise_if_fatal(error: KafkaError) -> None:
    if error.fatal() or error.code() in (
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
    ):
        raise FatalClientError(error.str())


def _next_offsets(records: Iterable[Record]) -> list[TopicPartition]:
    last = {(record.topic, record.partition): record for record in records}
    # With the leader epoch, so that a log truncated meanwhile is noticed rather than skipped.
    return [
        TopicPartition(r.topic, r.partition, r.offset + 1, leader_epoch=r.leader_epoch)
        if r.leader_epoch is not None
        else TopicPartition(r.topic, r.partition, r.offset + 1)
        for r in last.values()
    ]


def _first_offsets(records: Sequence[Record]) -> list[TopicPartition]:
    first = {(record.topic, record.partition): record for record in reversed(records)}
    return [TopicPartition(r.topic, r.partition, r.offset) for r in first.values()]


def _names(partitions: Iterable[TopicPartition]) -> list[str]:
    return [f"{part.topic}[{part.partition}]" for part in partitions]
