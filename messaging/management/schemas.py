"""The published description of the wire: a JSON Schema for each message, and one AsyncAPI document.

https://www.asyncapi.com/docs/reference/specification/v3.0.0
Everything here is derived from the declarations in config/registry.py and from the payload models.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from messaging.envelope import CONTENT_TYPE, MAX_PAYLOAD_BYTES, MAX_SEQUENCE, Payload
from messaging.registry import Subscription, Topic, messages, subscriptions, topics
from messaging.store.topics import REPLICATION_FACTOR, settings_of

Document = dict[str, Any]
Messages = Sequence[type[Payload]]

ASYNCAPI = Path("asyncapi.json")
SCHEMAS = Path("schemas")


def documents() -> dict[Path, str]:
    """The text of each published file, by its path below docs/."""
    files: dict[Path, Document] = {_schema_path(message): _schema(message) for message in messages()}
    files[ASYNCAPI] = _asyncapi(messages(), topics(), subscriptions())
    return {path: json.dumps(document, indent=2, ensure_ascii=False) + "\n" for path, document in files.items()}


def differing(folder: Path) -> list[Path]:
    """Published files below `folder` that are missing, old, or describe a message that is no more."""
    wanted = documents()
    present = {path.relative_to(folder) for path in [folder / ASYNCAPI, *(folder / SCHEMAS).glob("*.json")]}
    return sorted(path for path in present | wanted.keys() if _text(folder / path) != wanted.get(path))


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _schema_path(message: type[Payload]) -> Path:
    return SCHEMAS / f"{message.message_type}.json"


def _schema(message: type[Payload]) -> Document:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **message.model_json_schema()}


def _asyncapi(published: Messages, declared: Sequence[Topic], readers: Sequence[Subscription]) -> Document:
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Messages of orders and inventory",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 in Kafka's binary mode: the attributes are headers, the value is the "
            "payload. Delivered at least once; a consumer drops an id that it has taken, and applies each stream "
            "(source and key) in the order of ce_sequence.",
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {topic.name: _channel(topic, _of_topics(published, [topic.name])) for topic in declared},
        "operations": _sending(published) | _receiving(published, readers),
        "components": {
            "messages": {message.message_type: _message(message) for message in published},
            "schemas": {"Headers": HEADERS},
        },
    }


def _channel(topic: Topic, published: Messages) -> Document:
    settings = settings_of(topic)
    return {
        "address": topic.name,
        "messages": {m.message_type: {"$ref": f"#/components/messages/{m.message_type}"} for m in published},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "replicas": REPLICATION_FACTOR,
                "topicConfiguration": {
                    "cleanup.policy": [settings["cleanup.policy"]],
                    "retention.ms": int(settings["retention.ms"]),
                },
                "bindingVersion": "0.5.0",
            }
        },
    }


def _message(message: type[Payload]) -> Document:
    return {
        "name": message.message_type,
        "title": message.__name__,
        "summary": " ".join((message.__doc__ or "").split()),
        "contentType": CONTENT_TYPE,
        "headers": {
            "allOf": [{"$ref": "#/components/schemas/Headers"}],
            "properties": {"ce_type": {"const": message.message_type}, "ce_source": {"const": message.source}},
        },
        "payload": {"$ref": _schema_path(message).as_posix()},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "minLength": 1, "maxLength": 255, "description": "equal to ce_subject"},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _sending(published: Messages) -> Document:
    """One operation for each context that writes to a topic."""
    writers = dict.fromkeys((message.source, message.topic) for message in published)
    return {
        f"{source}.send": _operation("send", topic, [m for m in published if (m.source, m.topic) == (source, topic)])
        for source, topic in writers
    }


def _receiving(published: Messages, readers: Sequence[Subscription]) -> Document:
    """One operation for each consumer and topic."""
    return {
        f"{reader.consumer}.receive.{topic}": _operation("receive", topic, _of_topics(published, [topic]))
        | {
            "bindings": {
                "kafka": {"groupId": {"type": "string", "const": reader.consumer}, "bindingVersion": "0.5.0"},
            }
        }
        for reader in readers
        for topic in reader.topics
    }


def _operation(action: str, topic: str, published: Messages) -> Document:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{topic}"},
        "messages": [{"$ref": f"#/channels/{topic}/messages/{message.message_type}"} for message in published],
    }


def _of_topics(published: Messages, names: Sequence[str]) -> Messages:
    return [message for message in published if message.topic in names]


def _text_header(description: str, **more: Any) -> Document:
    return {"type": "string", "description": description, **more}


# What `envelope.encode_headers` writes; a test holds the two against each other.
HEADERS: Document = {
    "type": "object",
    "description": f"CloudEvents attributes. The payload has at most {MAX_PAYLOAD_BYTES} bytes.",
    "properties": {
        "ce_specversion": {"const": "1.0"},
        "ce_id": _text_header("the message id (UUIDv7): deduplicate by it", format="uuid"),
        "ce_source": _text_header("the context that wrote the message", minLength=1, maxLength=255),
        "ce_type": _text_header("the kind of message, with its version", minLength=1, maxLength=255),
        "ce_time": _text_header("when the row was written, by the database's clock", format="date-time"),
        "ce_subject": _text_header("the record's key: an order's id", minLength=1, maxLength=255),
        "ce_sequence": _text_header(
            f"the message's number within its source and key, from 1 to {MAX_SEQUENCE}", pattern="^[0-9]+$"
        ),
        "ce_sha256": _text_header("sha256 of the value's bytes, hexadecimal", pattern="^[0-9a-f]{64}$"),
        "content-type": {"const": CONTENT_TYPE},
        "traceparent": _text_header("W3C trace context; absent where the work had none"),
    },
    "required": [
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_time",
        "ce_subject",
        "ce_sequence",
        "ce_sha256",
        "content-type",
    ],
}
