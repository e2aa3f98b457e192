"""What can go wrong. Each docstring says what happened and what to do."""


class MessagingError(Exception):
    """Anything that this package raises on purpose."""


class OutsideTransaction(MessagingError):
    """`outbox.append` was called outside a transaction: the message would not be atomic with the
    business row. Call it inside the same `transaction.atomic()` block."""


class MessageTooLarge(MessagingError):
    """The payload is above `envelope.MAX_PAYLOAD_BYTES`. Send a reference to the data instead."""


class InvalidMessage(MessagingError):
    """The message cannot travel: a key that is empty or longer than 255 characters, a sequence outside
    1 … `envelope.MAX_SEQUENCE`, a NUL, or a payload that is not UTF-8. Mend what the caller passes."""


class Poison(MessagingError):
    """A record that can never be handled as it is. It becomes a dead letter; an operator replays it
    when the cause is mended.

    `reason` is a `models.DeadLetter.Reason` value; `detail` is for the operator.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class UnsafeCluster(MessagingError):
    """The live Kafka cluster or database can lose acknowledged data. Run `manage.py doctor`, mend
    what it names, or start with --unsafe where losing messages is acceptable."""


class BatchPostponed(MessagingError):
    """A batch could not be handled now, and no message is at fault. Nothing is lost: the reader stands
    before the batch again. Wait a little, and run again."""


class FatalClientError(MessagingError):
    """This Kafka client can never work again. The relay drops its producer and builds a new one; a consumer's process
    exits, and the supervisor starts it again."""


class ReplayRefused(MessagingError):
    """The dead letter or parked message cannot be replayed now; the text says why."""
