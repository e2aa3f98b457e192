"""A Kafka client's message as a plain record."""

from operator import methodcaller

from confluent_kafka import Message

from messaging.envelope import Header, Record

# Not `message.headers()`: confluent-kafka 2.16.1 answers a header name that is not UTF-8 with a broken list *and*
# an error. A call out of C always notices that and raises SystemError; Python's own call, once it is optimised
# for speed, does not: the error then comes up at some later line, or the broken list ends the process.
_ask_for_headers = methodcaller("headers")


def record_of(message: Message) -> Record:
    """Every byte that the record holds, and where it stands. The message must not be an error."""
    return Record(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        leader_epoch=message.leader_epoch(),
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=_headers(message),
    )


def _headers(message: Message) -> tuple[Header, ...]:
    try:
        pairs = _ask_for_headers(message) or ()
    except (SystemError, UnicodeDecodeError):
        # They are lost to us, and asking again would hand out a null pointer. Without headers the record is a
        # dead letter.
        return ()
    return tuple((str(name), _bytes(value)) for name, value in pairs)


def _bytes(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    return str(value).encode()
