"""What Kafka's log holds and what its groups have committed, read from outside: it imports nothing of the product."""

import hashlib
import time
from collections.abc import Collection, Iterator
from operator import methodcaller
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

SILENCE_SECONDS = 60.0  # without a record or an end, a partition cannot be read
Place = tuple[str, int, int]  # topic, partition, offset
Receipt = dict[str, Any]  # topic, partition, offset; id and digest of the message that should stand there
_READ_BY = {"inventory": "orders.events", "orders": "inventory.events"}  # group -> topic


class LogUnreadable(Exception):
    """Kafka neither gives the records of a partition nor says that it has ended."""


def not_there(receipts: Collection[Receipt], servers: str, *, patience: float = SILENCE_SECONDS) -> list[Receipt]:
    """The receipts whose message the log does not hold at their place. Raises LogUnreadable after so much silence."""
    # A topic that was recreated counts its offsets anew: two receipts may name one place.
    wrong: dict[Place, list[Receipt]] = {}
    for row in receipts:
        wrong.setdefault((row["topic"], row["partition"], row["offset"]), []).append(row)
    for place, message_id, digest in _records({topic for topic, _, _ in wrong}, servers, patience):
        rows = wrong.get(place, [])
        rows[:] = [row for row in rows if (row["id"], row["digest"]) != (message_id, digest)]
    return [row for rows in wrong.values() for row in rows]


def unread(servers: str) -> Iterator[tuple[str, str]]:
    """Partitions whose group has not committed their end, and where it is: all of it would come again."""
    for group, topic in _READ_BY.items():
        reader = Consumer({"bootstrap.servers": servers, "group.id": group, "log_level": 0})
        try:
            parts = [TopicPartition(topic, part) for part in reader.list_topics(topic).topics[topic].partitions]
            for part in reader.committed(parts, timeout=30):
                low, high = reader.get_watermark_offsets(part, timeout=30)
                if high > max(low, part.offset):
                    yield f"{topic}[{part.partition}]", f"{group} is at {part.offset}, the end is {high}"
        finally:
            reader.close()


def places(message_ids: Collection[str], servers: str) -> dict[str, list[Place]]:
    """Where each of these messages stands, as often as it does. Raises LogUnreadable."""
    found: dict[str, list[Place]] = {message_id: [] for message_id in message_ids}
    for place, message_id, _ in _records(set(_READ_BY.values()), servers):
        if message_id in found:
            found[message_id].append(place)
    return found


# A header name that is not UTF-8 ends the process in `message.headers()`, but not in a call out of C: confluent-kafka
# 2.16.1 answers it with a broken list and an error, and Python's own call, optimised, does not see the error.
_headers_of = methodcaller("headers")


def _id_of(message: Message) -> str:
    """The message id that the record claims, or nothing: strangers write what they like."""
    try:
        headers = _headers_of(message) or []
    except (SystemError, UnicodeDecodeError):
        return ""
    return next(((value or b"").decode(errors="replace") for name, value in headers if name == "ce_id"), "")


def _records(
    topics: Collection[str], servers: str, patience: float = SILENCE_SECONDS
) -> Iterator[tuple[Place, str, str]]:
    """Every record of the topics: its place, its message id, the sha256 of its value."""
    reader = Consumer({
        "bootstrap.servers": servers, "group.id": "checker", "enable.auto.commit": False, "log_level": 0,
        "enable.partition.eof": True, "auto.offset.reset": "earliest", "check.crcs": True,
        "fetch.wait.max.ms": 10,  # default 500, which a partition's end would be waited for
    })  # fmt: skip
    try:
        metadata = reader.list_topics(timeout=min(30.0, patience)).topics
        open_ = {(topic, part) for topic in topics if topic in metadata for part in metadata[topic].partitions}
        reader.assign([TopicPartition(topic, part, 0) for topic, part in open_])
        heard = time.monotonic()
        while open_:
            if time.monotonic() - heard > patience:
                raise LogUnreadable(f"no record and no end for {patience:.0f} s: {sorted(open_)}")
            for message in reader.consume(1000, 0.2):
                topic, partition = str(message.topic()), message.partition() or 0
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        open_.discard((topic, partition))
                        heard = time.monotonic()
                    elif error.code() == KafkaError._BAD_COMPRESSION:  # nobody's message: go on behind it
                        reader.seek(TopicPartition(topic, partition, (message.offset() or 0) + 1))
                    continue
                heard = time.monotonic()
                id_ = _id_of(message)
                value = message.value()
                digest = hashlib.sha256(value if isinstance(value, bytes) else b"").hexdigest()
                yield (topic, partition, message.offset() or 0), id_, digest
    finally:
        reader.close()
