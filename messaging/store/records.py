"""A Kafka client's message as a plain record."""

from confluent_kafka import Message

from messaging.envelope import Header, Record


def record_of(message: Message) -> Record:
    """Every byte that the record holds, and where it stands. The message must not be an error."""
    pairs: list[Header] = [(str(name), _bytes(value)) for name, value in list(message.headers() or ())]
    return Record(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        leader_epoch=message.leader_epoch(),
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=tuple(pairs),
    )


def _bytes(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return str(value).encode()
