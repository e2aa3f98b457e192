"""The audit: is every message that was written where it must be, and nothing anywhere else?

Order matters. The groups' offsets are read first, then one snapshot of the database, then the log:
a consumer commits its database before its offset, so what stands behind an offset must be in the
snapshot; a relay writes a receipt after the acknowledgement, so what has one must be in the log.
"""

from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.utils.module_loading import import_string

from messaging.prove.kafka_log import LogReader, Place, committed_offsets
from messaging.registry import Subscription, subscriptions, topics

Taking = tuple[UUID, str, int, int]  # message id, topic, partition, offset


@dataclass(slots=True)
class DomainBooks:
    """What the domain says of itself: its counts, and the ids that do not add up."""

    counts: dict[str, int]
    lost: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    stock_mismatches: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """The audit's answer. Lists hold ids; the counts of the domain stand beside the mechanism's."""

    domain: dict[str, int]
    written: int
    acknowledged: int
    in_log: int | None
    applied: int
    redelivered: int
    pending: int
    parked: int
    dead_letters: int
    lost: list[str]
    extra: list[str]
    stuck: list[str]
    stock_mismatches: list[str]

    @property
    def nothing_missing(self) -> bool:
        return not (self.lost or self.extra or self.stock_mismatches)

    def as_json(self) -> dict[str, Any]:
        """Counts under the names of the report, the ids behind them under `ids`."""
        fields = asdict(self)
        domain = fields.pop("domain")
        ids = {name: value for name, value in fields.items() if isinstance(value, list)}
        counts = {name: len(value) if isinstance(value, list) else value for name, value in fields.items()}
        return {**domain, **counts, "ids": ids}


def audit(*, deep: bool = False) -> Report:
    """Compare everything. `deep` also reads the whole log and compares ids and sha256.

    Raises KafkaException and OperationalError: what cannot be read is not called proven.
    """
    offsets = {sub.consumer: committed_offsets(sub) for sub in subscriptions()}
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            # It reads all history, and must not fall silent when that grows.
            cursor.execute("SET LOCAL statement_timeout = 0")
        counts = _counts()
        books: DomainBooks = import_string(settings.MESSAGING_BOOKS)()
        not_taken = {sub.consumer: _not_taken(sub) for sub in subscriptions()}
        strangers = _strangers()
    with LogReader() as log:
        unreachable = [
            found
            for sub in subscriptions()
            for found in _unreachable(sub, not_taken[sub.consumer], offsets[sub.consumer], log)
        ]
        in_log, not_in_log = _compare_log(log) if deep else (None, [])
    return Report(
        domain=books.counts,
        in_log=in_log,
        lost=[*books.lost, *unreachable, *not_in_log],
        extra=[*books.extra, *strangers],
        stuck=books.stuck,
        stock_mismatches=books.stock_mismatches,
        **counts,
    )


def _counts() -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (SELECT count(*) FROM outbox_message) AS written,
                   (SELECT count(*) FROM outbox_receipt) AS acknowledged,
                   (SELECT count(*) FROM processed_message)
                     - (SELECT count(*) FROM parked_message)
                     - (SELECT count(*) FROM dead_letter d JOIN processed_message p
                          ON p.message_id = d.message_id AND p.consumer = d.consumer
                        WHERE d.resolved_at IS NULL AND d.reason NOT IN ('unreadable', 'corrupt')) AS applied,
                   (SELECT coalesce(sum(redeliveries), 0) FROM processed_message WHERE redeliveries > 0) AS redelivered,
                   (SELECT count(*) FROM outbox_pending WHERE parked_at IS NULL) AS pending,
                   (SELECT count(*) FROM outbox_pending WHERE parked_at IS NOT NULL)
                     + (SELECT count(*) FROM parked_message) AS parked,
                   (SELECT count(*) FROM dead_letter WHERE resolved_at IS NULL) AS dead_letters
            """
        )
        names = [column.name for column in cursor.description]
        return dict(zip(names, (int(value) for value in cursor.fetchone()), strict=True))


def _unreachable(
    subscription: Subscription, not_taken: list[Taking], offsets: dict[Place, int], log: LogReader
) -> list[str]:
    """Messages that were acknowledged, that this consumer has not taken, and that it will never read.

    One that only waits its turn in the log is not among them.
    """
    bounds = {place: log.bounds(place) for place in log.partitions(subscription.topics)}
    lost = []
    for message_id, topic, partition, offset in not_taken:
        low, high = bounds.get((topic, partition), (0, 0))
        if offset < offsets.get((topic, partition), 0) or not low <= offset < high:
            lost.append(f"{message_id} ({subscription.consumer}: {topic}[{partition}]@{offset})")
    return lost


def _not_taken(subscription: Subscription) -> list[Taking]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT m.message_id, m.topic, r.partition, r."offset"
            FROM outbox_receipt r JOIN outbox_message m ON m.id = r.outbox_id
            WHERE m.topic = ANY(%(topics)s)
              AND NOT EXISTS (SELECT FROM processed_message p
                              WHERE p.message_id = m.message_id AND p.consumer = %(consumer)s)
              -- By its place: the id that an unreadable record claims may be a stranger's.
              AND NOT EXISTS (SELECT FROM dead_letter d
                              WHERE d.consumer = %(consumer)s AND d.topic = m.topic
                                AND d.partition = r.partition AND d."offset" = r."offset")
            """,
            {"topics": list(subscription.topics), "consumer": subscription.consumer},
        )
        rows: list[Taking] = cursor.fetchall()
        return rows


def _strangers() -> list[str]:
    """Messages that a consumer took and nobody wrote."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT p.message_id, p.consumer FROM processed_message p
            WHERE NOT EXISTS (SELECT FROM outbox_message m WHERE m.message_id = p.message_id)
              AND NOT EXISTS (SELECT FROM dead_letter d WHERE d.message_id = p.message_id AND d.resolved_at IS NULL)
              AND NOT EXISTS (SELECT FROM parked_message k WHERE k.message_id = p.message_id)
            """
        )
        return [f"{message_id} (taken by {consumer}, written by nobody)" for message_id, consumer in cursor.fetchall()]


def _compare_log(log: LogReader) -> tuple[int, list[str]]:
    """How many receipts the log confirms, id and sha256; and those that it does not."""
    confirmed, wrong = 0, []
    for place in log.partitions([topic.name for topic in topics()]):
        receipts = _receipts(place)
        low, _ = log.bounds(place)
        for entry in log.read(place):
            if receipts.get(entry.offset) == (entry.message_id, entry.payload_sha256):
                confirmed += 1
                del receipts[entry.offset]
        # What retention has removed cannot be compared any more.
        wrong += [
            f"{id_} ({place[0]}[{place[1]}]@{at}: not in the log)" for at, (id_, _) in receipts.items() if at >= low
        ]
    return confirmed, wrong


def _receipts(place: Place) -> dict[int, tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT r."offset", m.message_id::text, encode(sha256(convert_to(m.payload, 'UTF8')), 'hex')
            FROM outbox_receipt r JOIN outbox_message m ON m.id = r.outbox_id
            WHERE m.topic = %s AND r.partition = %s
            """,
            place,
        )
        return {offset: (message_id, digest) for offset, message_id, digest in cursor.fetchall()}
