"""Hold every receipt against the log, and every record of the log against the outbox: the audit's deep part.

A message that every subscriber has taken has had its effect, whatever becomes of its record: a topic deleted and
recreated, a log cut short or retention let it go, and that is no loss. A record that stands at its place under
its id with other bytes is a fault in any case.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db import connection

from messaging.prove.kafka_log import LogEntry, LogReader, Place
from messaging.prove.retention import surely_kept_days
from messaging.registry import subscriptions, topics


@dataclass(slots=True)
class Comparison:
    """Each receipt is in one of the first three, unless it was taken back meanwhile; the lists say ids and places.

    `missing` (by message id) are not in the log although a subscriber has not taken them, or differ there.
    `unknown` are records that nobody wrote, as far as the outbox knows.
    """

    in_log: int = 0
    gone: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


class _Receipt(NamedTuple):
    outbox_id: int
    payload_sha256: str


# A topic that was recreated counts its offsets anew, so two messages may have been acknowledged at one offset.
_Expected = dict[tuple[int, str], _Receipt]  # by offset and message id


def compare(log: LogReader) -> Comparison:
    """Read the whole log once. Raises KafkaException.

    The receipts of a partition are read before its records, and the outbox after them: a relay writes a receipt
    after the acknowledgement, and a message is in the outbox before it is in the log.
    """
    found = Comparison()
    there = set(log.partitions([topic.name for topic in topics()]))
    with _all_the_time_it_takes():
        for place in sorted(there | set(_acknowledged_places())):
            _compare_partition(place, log.read(place) if place in there else (), found)
    return found


@contextmanager
def _all_the_time_it_takes() -> Iterator[None]:
    """Without statement_timeout: it reads all history, and must not fall silent when that grows."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        try:
            yield
        finally:
            cursor.execute("RESET statement_timeout")


def _compare_partition(place: Place, entries: Iterator[LogEntry] | Collection[LogEntry], found: Comparison) -> None:
    expected, others = _receipts(place), []
    for entry in entries:
        receipt = expected.pop((entry.offset, entry.message_id), None)
        if receipt is None:
            others.append(entry)
        elif receipt.payload_sha256 == entry.payload_sha256:
            found.in_log += 1
        else:
            found.missing[entry.message_id] = _at(place, entry.offset, entry.message_id, "the record differs")
    taken = _taken_by_all(place, expected)
    for offset, message_id in expected:
        if taken.get(message_id):
            found.gone.append(_at(place, offset, message_id, "taken by all, no longer in the log"))
        elif message_id in taken:
            found.missing[message_id] = _at(place, offset, message_id, "not in the log")
    found.unknown += [
        _at(place, others[number].offset, others[number].message_id, "written by nobody")
        for number in _unknown(others)
    ]  # fmt: skip


def _at(place: Place, offset: int, message_id: str, what: str) -> str:
    topic, partition = place
    return f"{message_id or 'no id'} ({topic}[{partition}]@{offset}: {what})"


def _acknowledged_places() -> list[Place]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT m.topic, r.partition FROM outbox_receipt r JOIN outbox_message m ON m.id = r.outbox_id"
        )
        return [(topic, partition) for topic, partition in cursor.fetchall()]


def _receipts(place: Place) -> _Expected:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT r."offset", m.message_id::text, m.id, encode(sha256(convert_to(m.payload, 'UTF8')), 'hex')
            FROM outbox_receipt r JOIN outbox_message m ON m.id = r.outbox_id
            WHERE m.topic = %s AND r.partition = %s
            """,
            place,
        )
        return {(offset, message_id): _Receipt(*receipt) for offset, message_id, *receipt in cursor.fetchall()}


def _taken_by_all(place: Place, absent: _Expected) -> dict[str, bool]:
    """Whether every subscriber has the message in its inbox, with the payload that was written.

    Without those whose receipt is another by now, since they were put back meanwhile.
    """
    if not absent:
        return {}
    topic, partition = place
    consumers = [declared.consumer for declared in subscriptions() if topic in declared.topics]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT m.message_id::text, %(count)s = (
                SELECT count(*) FROM processed_message p
                WHERE p.message_id = m.message_id AND p.consumer = ANY(%(consumers)s)
                  AND p.payload_sha256 = absent.payload_sha256)
            FROM unnest(%(ids)s::bigint[], %(offsets)s::bigint[], %(digests)s::text[])
                 AS absent (outbox_id, place, payload_sha256)
            JOIN outbox_receipt r ON r.outbox_id = absent.outbox_id
                 AND r.partition = %(partition)s AND r."offset" = absent.place
            JOIN outbox_message m ON m.id = r.outbox_id
            """,
            {
                "count": len(consumers),
                "consumers": consumers,
                "partition": partition,
                "ids": [receipt.outbox_id for receipt in absent.values()],
                "offsets": [offset for offset, _ in absent],
                "digests": [receipt.payload_sha256 for receipt in absent.values()],
            },
        )
        return dict(cursor.fetchall())


def _unknown(entries: Collection[LogEntry]) -> list[int]:
    """The numbers of those records whose id the outbox does not have. Only of what is too young to have been pruned."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT record.number - 1
            FROM unnest(%(ids)s::text[], %(times)s::bigint[]) WITH ORDINALITY AS record (id, appended_at, number)
            WHERE NOT EXISTS (SELECT FROM outbox_message m WHERE m.message_id = nullif(record.id, '')::uuid)
              AND to_timestamp(record.appended_at / 1000.0) > now() - %(kept_days)s * interval '1 day'
            ORDER BY record.number
            """,
            {
                "ids": [entry.message_id for entry in entries],
                "times": [entry.appended_at for entry in entries],
                "kept_days": surely_kept_days(),
            },
        )
        return [number for (number,) in cursor.fetchall()]
