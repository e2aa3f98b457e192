"""Any bytes as a record: a well-formed message with one thing changed, and a way to write it past the outbox."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from confluent_kafka import Producer

from messaging.envelope import Envelope, encode_headers, sha256
from messaging.store.kafka import producer_settings
from tests.consume.messages import TOPIC

Place = tuple[int, int]  # partition and offset


@dataclass(frozen=True)
class Raw:
    """A record as a stranger could write it. `timestamp` is Kafka's own, in milliseconds."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, str | bytes | None]]
    timestamp: int | None = None


Change = Callable[[Envelope], Raw]


def raw(message: Envelope) -> Raw:
    """The message as it should be."""
    return Raw(message.partition_key.encode(), message.payload.encode(), encode_headers(message))


def value(data: bytes | None) -> Change:
    """The message with other bytes as its value, and the sha256 that fits them."""
    return lambda message: replace(header("ce_sha256", sha256(data or b""))(message), value=data)


def payload(json: str) -> Change:
    """The message with another JSON: `%id` and `%sku` stand for the order's."""

    def change(message: Envelope) -> Raw:
        sku = message.payload.partition('"sku":"')[2].partition('"')[0]
        return value(json.replace("%id", message.partition_key).replace("%sku", sku).encode())(message)

    return change


def key(data: bytes | None) -> Change:
    return lambda message: replace(raw(message), key=data)


def header(name: str, data: str | bytes | None) -> Change:
    """The message with another value of one header."""

    def change(message: Envelope) -> Raw:
        original = raw(message)
        return replace(original, headers=[(n, data if n == name else old) for n, old in original.headers])

    return change


def without(name: str) -> Change:
    def change(message: Envelope) -> Raw:
        original = raw(message)
        return replace(original, headers=[(n, old) for n, old in original.headers if n != name])

    return change


def twice(name: str) -> Change:
    def change(message: Envelope) -> Raw:
        original = raw(message)
        return replace(original, headers=[*original.headers, *((n, old) for n, old in original.headers if n == name)])

    return change


def also(*more: tuple[str, str | bytes | None]) -> Change:
    """The message with further headers."""

    def change(message: Envelope) -> Raw:
        original = raw(message)
        return replace(original, headers=[*original.headers, *more])

    return change


def stamped(milliseconds: int) -> Change:
    """The message with a producer's clock of its own."""
    return lambda message: replace(raw(message), timestamp=milliseconds)


def write(records: Iterable[tuple[int, Raw]], *, topic: str = TOPIC, **settings: object) -> list[Place]:
    """Write each record into its partition; returns their places, in the order given."""
    # Its own default, 1,000,000, is below what the brokers take.
    producer = Producer(producer_settings() | {"message.max.bytes": 1_048_000} | settings)
    wanted = list(records)
    places: dict[int, Place] = {}

    def report(number: int) -> Callable[..., None]:
        return lambda error, message: places.update({number: (message.partition(), error or message.offset())})

    for number, (partition, record) in enumerate(wanted):
        stamp = {} if record.timestamp is None else {"timestamp": record.timestamp}
        producer.produce(
            topic,
            key=record.key,
            value=record.value,
            headers=list(record.headers),
            partition=partition,
            on_delivery=report(number),
            **stamp,
        )
    assert producer.flush(30) == 0
    producer.close()
    assert all(isinstance(offset, int) for _, offset in places.values()), places
    return [places[number] for number in range(len(wanted))]
