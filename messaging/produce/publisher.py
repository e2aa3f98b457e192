"""The relay's mouth: hand messages to Kafka and collect the brokers' delivery reports."""

from collections import deque
from collections.abc import Callable

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from messaging.envelope import sha256, wire_headers
from messaging.errors import FatalClientError
from messaging.produce.queue import Acknowledged, PendingMessage, Refused
from messaging.store.kafka import producer_settings

log = structlog.get_logger(__name__)

# The message's own faults: Kafka will answer the same however often it is asked. Everything else, a
# missing topic or permission included, is somebody else's to mend: the row stays and is tried again.
_PERMANENT = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.RECORD_LIST_TOO_LARGE,
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError._INVALID_ARG,
}


class Publisher:
    """One producer. Make it in the process that uses it: its threads do not survive a fork."""

    def __init__(self) -> None:
        self._reports: deque[tuple[PendingMessage, KafkaError | None, int, int]] = deque()
        self._fatal: KafkaError | None = None
        self._producer = Producer(producer_settings() | {"error_cb": self._on_error})

    def publish(self, message: PendingMessage) -> None:
        """Queue the message in the client. Its delivery report comes out of `collect`."""
        payload = message.payload.encode()
        headers = wire_headers(
            message_id=message.message_id,
            message_type=message.message_type,
            source=message.source,
            partition_key=message.partition_key,
            sequence=message.sequence,
            occurred_at=message.occurred_at,
            payload_sha256=sha256(payload),
            traceparent=message.traceparent,
        )
        try:
            self._producer.produce(
                message.topic,
                key=message.partition_key.encode(),
                value=payload,
                headers=headers,
                on_delivery=self._reporter(message),
            )
        except BufferError:
            # The client's queue is full. Not published, not lost: the row stays pending.
            self._reports.append((message, KafkaError(KafkaError._QUEUE_FULL), -1, -1))
        except KafkaException as error:
            self._on_error(error.args[0])
            self._reports.append((message, error.args[0], -1, -1))

    def collect(self, timeout: float) -> tuple[list[Acknowledged], list[Refused], list[int]]:
        """Wait up to `timeout` seconds for reports: acknowledged, refused, and ids of unknown fate.

        Raises FatalClientError when this producer can never publish again: drop it, build a new one.
        """
        # Also sends what was published since, without waiting for the linger time to pass.
        self._producer.flush(timeout)
        if self._fatal:
            raise FatalClientError(str(self._fatal))
        acknowledged: list[Acknowledged] = []
        refused: list[Refused] = []
        unknown: list[int] = []
        for _ in range(len(self._reports)):
            message, error, partition, offset = self._reports.popleft()
            outbox_id = message.outbox_id
            if error is None:
                acknowledged.append(Acknowledged(outbox_id, partition, offset))
            elif error.code() in _PERMANENT:
                refused.append(Refused(outbox_id, error.str()))
            else:
                unknown.append(outbox_id)
                log.warning(
                    "delivery unknown, the row stays pending",
                    message_id=message.message_id,
                    traceparent=message.traceparent,
                    error=error.str(),
                )
        return acknowledged, refused, unknown

    def abandon(self) -> None:
        """Forget what is in flight: the rows stay pending, whoever publishes them next."""
        self._producer.purge()
        self._producer.close()

    def _reporter(self, published: PendingMessage) -> Callable[[KafkaError | None, Message], None]:
        reports = self._reports

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            # Only append: an exception here would break the client's report queue.
            reports.append((published, error, message.partition() or 0, message.offset() or 0))

        return on_delivery

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error
        log.warning("kafka producer", error=error.str(), fatal=error.fatal())
