"""Hand messages to Kafka and collect the brokers' delivery reports."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from messaging import trace
from messaging.envelope import TextHeader, sha256, wire_headers
from messaging.errors import FatalClientError
from messaging.produce.queue import Acknowledged, PendingMessage, Refused
from messaging.store.kafka import log_error, news, producer_settings

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 1.0  # a new client waits for its first broker before it is given messages

# The message's own faults: Kafka will answer the same however often it is asked. Everything else, a
# missing topic or permission included, is somebody else's to mend: the row stays and is tried again.
_PERMANENT = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError._INVALID_ARG,
}
# … and these are said of a whole batch: which of its messages is at fault shows when each travels alone.
_OF_THE_BATCH = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}


class _Report(NamedTuple):
    message: PendingMessage
    error: KafkaError | None
    alone: bool  # the message travelled in a batch of its own
    place: tuple[int, int] | None = None  # partition and offset; of an acknowledged message it may be unknown


class Publisher:
    """One producer. Make it in the process that uses it: its threads do not survive a fork."""

    def __init__(self) -> None:
        self._reports: deque[_Report] = deque()
        self._fatal: KafkaError | None = None
        self._producer = self._make()
        self._loner: Producer | None = None  # makes batches of one, for messages whose batch was refused

    def publish(self, message: PendingMessage) -> None:
        """Queue the message in the client. Its delivery report comes out of `collect`."""
        self._produce(self._producer, message, alone=False)

    def collect(self, timeout: float) -> tuple[list[Acknowledged], list[Refused], list[int]]:
        """Wait up to `timeout` seconds for reports: acknowledged, refused, and ids of unknown fate or place.

        Up to twice as long once a message was published alone: its producer is waited for too.

        Raises FatalClientError when this producer can never publish again: drop it, build a new one.
        """
        try:
            for producer in (self._producer, self._loner):
                if producer and timeout:
                    producer.flush(timeout)  # sends at once what was published since, the linger time need not pass
                elif producer:
                    producer.poll(0)
        except KafkaException as fatal:
            raise FatalClientError(str(fatal)) from fatal
        if self._fatal:
            raise FatalClientError(str(self._fatal))
        acknowledged: list[Acknowledged] = []
        refused: list[Refused] = []
        unknown: list[int] = []
        for _ in range(len(self._reports)):
            message, error, alone, place = self._reports.popleft()
            if error is None and place:
                acknowledged.append(Acknowledged(message.outbox_id, *place))
            elif error is None:
                # A broker that restarted knows that it has this batch already, and no longer where. Without the
                # place nobody could prove that the message is still there: the next copy has one, the inbox absorbs it.
                unknown.append(message.outbox_id)
                _log("acknowledged and its place unknown, it is published again", message)
            elif error.code() in _OF_THE_BATCH and not alone:
                self._publish_alone(message, error)
            elif error.code() in _PERMANENT:
                refused.append(Refused(message.outbox_id, error.str()))
                _log("refused for good, it is parked", message, error)
            else:
                unknown.append(message.outbox_id)
                what = "delivery unknown, the row stays pending"
                if news(f"{what}: {error.str()}"):  # of thousands one speaks: `outbox_pending` has them all
                    _log(what, message, error)
        return acknowledged, refused, unknown

    def abandon(self) -> None:
        """Forget what is in flight: the rows stay pending, whoever publishes them next."""
        for producer in (self._producer, self._loner):
            if producer:
                producer.purge()
                producer.close()

    def _make(self, **settings: int) -> Producer:
        producer = Producer(producer_settings() | {"error_cb": self._on_error} | settings)
        # librdkafka asks for the idempotent producer's id as soon as a message is there. Before it is connected it
        # asks in vain, and asks again half a second later: all messages would wait so long.
        try:
            producer.list_topics(timeout=CONNECT_SECONDS)
        except KafkaException as error:
            log.warning("no broker answers yet, messages wait in the client", error=str(error))
        return producer

    def _publish_alone(self, message: PendingMessage, error: KafkaError) -> None:
        _log("its batch was refused, publishing it alone", message, error)
        self._loner = self._loner or self._make(**{"batch.num.messages": 1})
        self._produce(self._loner, message, alone=True)

    def _produce(self, producer: Producer, message: PendingMessage, *, alone: bool) -> None:
        payload = message.payload.encode()
        try:
            producer.produce(
                message.topic,
                key=message.partition_key.encode(),
                value=payload,
                headers=_headers(message, payload),
                on_delivery=self._reporter(message, alone),
            )
        except BufferError:
            # The client's queue is full. Not published, not lost: the row stays pending.
            self._reports.append(_Report(message, KafkaError(KafkaError._QUEUE_FULL), alone))
        except KafkaException as error:
            self._on_error(error.args[0])
            self._reports.append(_Report(message, error.args[0], alone))

    def _reporter(self, published: PendingMessage, alone: bool) -> Callable[[KafkaError | None, Message], None]:
        reports = self._reports

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            # Only append: an exception here would break the client's report queue.
            partition, offset = message.partition(), message.offset()
            place = None if partition is None or offset is None else (partition, offset)
            reports.append(_Report(published, error, alone, place))

        return on_delivery

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error
        log_error(error)


def _headers(message: PendingMessage, payload: bytes) -> list[TextHeader]:
    return wire_headers(
        message_id=message.message_id,
        message_type=message.message_type,
        source=message.source,
        partition_key=message.partition_key,
        sequence=message.sequence,
        occurred_at=message.occurred_at,
        payload_sha256=sha256(payload),
        traceparent=message.traceparent,
    )


def _log(what: str, message: PendingMessage, error: KafkaError | None = None) -> None:
    log.warning(
        what,
        message_id=message.message_id,
        trace_id=trace.id_of(message.traceparent),
        traceparent=message.traceparent,
        error=error.str() if error else None,
    )
