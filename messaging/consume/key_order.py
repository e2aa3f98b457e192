"""Each stream's messages are applied as 1, 2, 3 …, whatever order Kafka brings them in.

A stream is a source and a key (an order). `KeyPosition` holds the last sequence applied. A message
that comes early is parked. A dead letter does not advance its stream, so what follows it parks too.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from django.db import connection, transaction

from messaging.consume.delivery import Delivery
from messaging.consume.raw import RAW_COLUMNS, from_row, log_fields, raw_values
from messaging.envelope import Stream, decode

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Admitted:
    """`ready` are next in their streams. `conflicting` claim a sequence that was applied already."""

    ready: list[Delivery]
    conflicting: list[Delivery]


def admit(consumer: str, deliveries: Sequence[Delivery]) -> Admitted:
    """Let through what is next in its stream, and park what is early.

    Locks the streams until the transaction ends: two consumers that hold neighbours of one stream
    (one of them lost its partition and does not know it yet) act one after the other.
    """
    positions = _lock_positions(consumer, {delivery.envelope.stream for delivery in deliveries})
    ready, early, conflicting = [], [], []
    for delivery in deliveries:
        stream, sequence = delivery.envelope.stream, delivery.envelope.sequence
        if sequence == positions[stream] + 1:
            positions[stream] = sequence
            ready.append(delivery)
        elif sequence > positions[stream]:
            early.append(delivery)
        else:
            conflicting.append(delivery)
    if early:
        _park(consumer, early)
    return Admitted(ready, conflicting)


def advance(consumer: str, applied: Sequence[Delivery]) -> list[Delivery]:
    """Note that these were applied, and take the parked messages whose turn has come."""
    last = {delivery.envelope.stream: delivery.envelope.sequence for delivery in applied}
    columns: dict[str, Any] = {
        "consumer": consumer,
        "sources": [source for source, _ in last],
        "keys": [key for _, key in last],
        "sequences": list(last.values()),
    }
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH applied AS (
                SELECT * FROM unnest(%(sources)s::text[], %(keys)s::text[], %(sequences)s::int[])
                              AS applied (by_source, of_key, last)
            ), noted AS (
                UPDATE key_position p SET last_sequence = applied.last FROM applied
                WHERE p.consumer = %(consumer)s AND p.source = by_source AND p.partition_key = of_key
            )
            DELETE FROM parked_message p USING applied
            WHERE p.consumer = %(consumer)s AND p.source = by_source AND p.partition_key = of_key
              AND p.sequence = applied.last + 1
            RETURNING {RAW_COLUMNS}
            """,
            columns,
        )
        records = [from_row(row) for row in cursor.fetchall()]
    return [Delivery(decode(record), record) for record in records]


def _lock_positions(consumer: str, streams: set[Stream]) -> dict[Stream, int]:
    """The last sequence of each stream, its row made where there was none, and locked."""
    # In one order everywhere, so that two consumers cannot lock each other out.
    rows = [{"source": source, "key": key} for source, key in sorted(streams)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO key_position AS p (consumer, source, partition_key, last_sequence)
            SELECT %(consumer)s, source, key, 0
            FROM json_to_recordset(%(streams)s::json) AS stream (source text, key text)
            ON CONFLICT (partition_key, source, consumer) DO UPDATE SET last_sequence = p.last_sequence
            RETURNING source, partition_key, last_sequence
            """,
            {"consumer": consumer, "streams": json.dumps(rows)},
        )
        return {(source, key): sequence for source, key, sequence in cursor.fetchall()}


def _park(consumer: str, early: Sequence[Delivery]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            f"""
            INSERT INTO parked_message (consumer, message_id, source, partition_key, sequence, {RAW_COLUMNS})
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            """,
            [
                (
                    consumer,
                    delivery.envelope.message_id,
                    delivery.envelope.source,
                    delivery.envelope.partition_key,
                    delivery.envelope.sequence,
                    *raw_values(delivery.record),
                )
                for delivery in early
            ],
        )
    transaction.on_commit(partial(_log_parked, consumer, early))


def _log_parked(consumer: str, early: Sequence[Delivery]) -> None:
    for delivery in early:
        fields = {"consumer": consumer, "sequence": delivery.envelope.sequence} | log_fields(delivery.record)
        log.warning("parked until its predecessor comes", **fields)
