"""A record as bytes in the database and back: what `ParkedMessage` and `DeadLetter` keep."""

import json
from collections.abc import Sequence
from typing import Any

from messaging import trace
from messaging.envelope import Record, claimed_id, claimed_traceparent, sha256

RAW_COLUMNS = 'topic, partition, "offset", key, value, headers'


def raw_values(record: Record) -> tuple[Any, ...]:
    """The values of RAW_COLUMNS."""
    return record.topic, record.partition, record.offset, record.key, record.value, _headers_json(record)


def from_row(row: Sequence[Any]) -> Record:
    """The record behind a row of RAW_COLUMNS."""
    topic, partition, offset, key, value, headers = row
    pairs = json.loads(headers) if isinstance(headers, str) else headers
    return Record(
        topic=topic,
        partition=partition,
        offset=offset,
        leader_epoch=None,
        key=None if key is None else bytes(key),
        value=None if value is None else bytes(value),
        headers=tuple((name, None if text is None else bytes.fromhex(text)) for name, text in pairs),
    )


def fingerprint(record: Record) -> str:
    """Tells two records apart that stood at the same offset of a topic, before and after it was recreated."""
    return sha256(repr((record.key, record.value, record.headers)).encode())


def log_fields(record: Record) -> dict[str, Any]:
    """By what a log line names a record: its message and trace, as far as it tells them, and its place."""
    message_id, traceparent = claimed_id(record), claimed_traceparent(record)
    return {
        "message_id": str(message_id) if message_id else None,
        "trace_id": trace.id_of(traceparent),
        "traceparent": traceparent,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
    }


def _headers_json(record: Record) -> str:
    return json.dumps(
        [[name.replace("\x00", "\ufffd"), None if value is None else value.hex()] for name, value in record.headers]
    )
