"""What travels: CloudEvents 1.0 in Kafka's binary mode, written by hand.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
The attributes are headers (`ce_*`), the value is the payload's JSON, the record's key is the
partition key. `ce_sequence` counts a source's messages of one key, from 1; `ce_sha256` protects the payload.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from messaging.errors import Poison

MAX_PAYLOAD_BYTES = 256 * 1024
MAX_SEQUENCE = 2**31 - 1
CONTENT_TYPE = "application/json"

Stream = tuple[str, str]  # source and partition key: sequences count within it, and its messages keep their order
Header = tuple[str, bytes | None]
TextHeader = tuple[str, str | bytes | None]  # values are str; the wider type is what `Producer.produce` declares


class Payload(BaseModel):
    """The body of one kind of message: subclass it for each `message_type`.

    A tolerant reader: unknown fields pass, so that a producer may add one. What is known is strict.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    message_type: ClassVar[str]
    topic: ClassVar[str]
    source: ClassVar[str]

    @classmethod
    def read(cls, envelope: "Envelope") -> Self:
        """The payload of a received message. Raises Poison when it does not fit the schema."""
        try:
            return cls.model_validate_json(envelope.payload, strict=True)
        except ValidationError as error:
            raise Poison("invalid_payload", _first_error(error)) from error


@dataclass(frozen=True, slots=True)
class Envelope:
    """One message as the wire carries it, whichever topic or offset it was read from."""

    message_id: UUID
    message_type: str
    source: str
    partition_key: str
    sequence: int
    payload: str
    occurred_at: datetime
    traceparent: str | None

    @property
    def stream(self) -> Stream:
        """The ordered stream that the message belongs to."""
        return self.source, self.partition_key


@dataclass(frozen=True, slots=True)
class Record:
    """A raw Kafka record, before anybody trusts it."""

    topic: str
    partition: int
    offset: int
    leader_epoch: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]


def encode_headers(envelope: Envelope) -> list[TextHeader]:
    """The record's headers. Key and value travel as they are: `partition_key` and `payload`."""
    return wire_headers(
        message_id=str(envelope.message_id),
        message_type=envelope.message_type,
        source=envelope.source,
        partition_key=envelope.partition_key,
        sequence=envelope.sequence,
        occurred_at=envelope.occurred_at.astimezone(UTC).isoformat(),
        payload_sha256=sha256(envelope.payload.encode()),
        traceparent=envelope.traceparent,
    )


def wire_headers(
    *,
    message_id: str,
    message_type: str,
    source: str,
    partition_key: str,
    sequence: int,
    occurred_at: str,
    payload_sha256: str,
    traceparent: str | None,
) -> list[TextHeader]:
    """The same headers from fields that are text already, as the relay has them: it parses no message."""
    headers: list[TextHeader] = [
        ("ce_specversion", "1.0"),
        ("ce_id", message_id),
        ("ce_source", source),
        ("ce_type", message_type),
        ("ce_time", occurred_at),
        ("ce_subject", partition_key),
        ("ce_sequence", str(sequence)),
        ("ce_sha256", payload_sha256),
        ("content-type", CONTENT_TYPE),
    ]
    if traceparent:
        headers.append(("traceparent", traceparent))
    return headers


def decode(record: Record) -> Envelope:
    """The message inside a record. Raises Poison: `unreadable` when it is not one of ours, `corrupt` when its
    payload is not the one that was written."""
    headers = _text_headers(record.headers)
    key = _utf8("the record key", record.key)
    payload = _utf8("the record value", record.value)
    if sha256(record.value or b"") != headers["ce_sha256"]:
        raise Poison("corrupt", "the payload does not match the header ce_sha256")
    if key != headers["ce_subject"] or not key:
        raise Poison("unreadable", "the record key and the header ce_subject differ or are empty")
    return Envelope(
        message_id=_uuid(headers["ce_id"]),
        message_type=headers["ce_type"],
        source=headers["ce_source"],
        partition_key=key,
        sequence=_sequence(headers["ce_sequence"]),
        payload=_json_object(payload),
        occurred_at=_time(headers["ce_time"]),
        traceparent=claimed_traceparent(record),
    )


def claimed_id(record: Record) -> UUID | None:
    """The message id that a record names, also when the rest of it cannot be read."""
    values = [value for name, value in record.headers if name == "ce_id"]
    try:
        return UUID((values[0] or b"").decode()) if len(values) == 1 else None
    except (ValueError, UnicodeDecodeError):
        return None


def claimed_traceparent(record: Record) -> str | None:
    """The trace that a record claims, also when the rest of it cannot be read. None where the header is absent or
    doubled; `trace` ignores a malformed one."""
    values = [value for name, value in record.headers if name == "traceparent"]
    text = values[0] if len(values) == 1 else None
    return text.decode("ascii", "replace") if text else None


def sha256(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


_REQUIRED = (
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_time",
    "ce_subject",
    "ce_sequence",
    "ce_sha256",
)


def _text_headers(headers: tuple[Header, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers:
        # What we do not read cannot make a message unreadable.
        if name not in _REQUIRED:
            continue
        if name in found:
            raise Poison("unreadable", f"the header {name} appears twice")
        found[name] = _utf8(f"the header {name}", value)
    missing = [name for name in _REQUIRED if not found.get(name)]
    if missing:
        raise Poison("unreadable", f"the header {missing[0]} is missing or empty")
    if found["ce_specversion"] != "1.0":
        raise Poison("unreadable", "ce_specversion is not 1.0")
    too_long = [name for name in _REQUIRED if len(found[name]) > 255]
    if too_long:
        raise Poison("unreadable", f"the header {too_long[0]} is longer than 255 characters")
    return found


def _utf8(what: str, value: bytes | None) -> str:
    if value is None:
        raise Poison("unreadable", f"{what} is absent")
    try:
        text = value.decode()
    except UnicodeDecodeError as error:
        raise Poison("unreadable", f"{what} is not UTF-8") from error
    if "\x00" in text:
        # PostgreSQL stores no NUL in text: found here, it is a dead letter and not a crash loop.
        raise Poison("unreadable", f"{what} holds a NUL character")
    return text


def _json_object(payload: str) -> str:
    try:
        value: Any = json.loads(payload, object_pairs_hook=members_once)
    except NameTwice as error:
        raise Poison("unreadable", "the payload has a name twice in one object") from error
    except (ValueError, RecursionError) as error:
        raise Poison("unreadable", "the payload is not JSON") from error
    if not isinstance(value, dict):
        raise Poison("unreadable", "the payload is not a JSON object")
    return payload


class NameTwice(ValueError):
    """A JSON object has a name twice. Readers differ on which counts: what one has checked, another may not see."""


def members_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object's members, as `object_pairs_hook` of `json.loads`. Raises NameTwice."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise NameTwice("a key appears twice in one object")
    return members


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Poison("unreadable", "ce_id is not a UUID") from error


def _sequence(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= MAX_SEQUENCE:
        raise Poison("unreadable", f"ce_sequence is not a number from 1 to {MAX_SEQUENCE}")
    return number


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise Poison("unreadable", "ce_time is not an RFC 3339 time") from error


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place or 'payload'}: {first['msg']}"
