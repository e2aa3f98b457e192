"""The whole way of a key: its messages, where Kafka put them, and who took them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.urls import reverse
from django.utils.safestring import SafeString

from messaging.admin.show import badge, duration
from messaging.models import DeadLetter, OutboxMessage, OutboxReceipt, ParkedMessage, ProcessedMessage
from messaging.registry import subscriptions

MAX_STEPS = 100


@dataclass(frozen=True, slots=True)
class Taking:
    """What became of a message at one consumer, which took it so long `after` it was written."""

    consumer: str
    outcome: str
    after: str = ""
    redeliveries: int = 0
    url: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One message of the key, and its consumers. `began` is when the key's first message was written."""

    message: OutboxMessage
    state: str
    takings: list[Taking]
    began: datetime

    @property
    def badge(self) -> SafeString:
        return badge(self.state)

    @property
    def written(self) -> str:
        """The first message's time of day; how much later for the others."""
        later = self.message.created_at - self.began
        return f"+ {duration(later)}" if later else f"{self.began:%H:%M:%S}"

    @property
    def place(self) -> str:
        return place_of(self.message)


def state_of(message: OutboxMessage) -> str:
    """Which table the message is in. Wants `pending` and `receipt` selected with it."""
    if pending := getattr(message, "pending", None):
        return "parked" if pending.parked_at else "pending"
    return "acknowledged" if hasattr(message, "receipt") else "in no table"


def place_of(message: OutboxMessage) -> str:
    """Where the message is in Kafka's log; empty while it is not."""
    receipt = getattr(message, "receipt", None)
    return f"{message.topic}[{receipt.partition}]@{receipt.offset}" if receipt else ""


def journey(partition_key: str) -> list[Step]:
    """The key's first MAX_STEPS messages in the order in which they were written. Four queries."""
    messages = list(
        OutboxMessage.objects.filter(partition_key=partition_key)
        .select_related("pending", "receipt")
        .defer("payload")
        .order_by("pk")[:MAX_STEPS]
    )
    takings = _takings(messages)
    return [
        Step(message, state_of(message), takings[message.message_id], messages[0].created_at) for message in messages
    ]


def _takings(messages: Sequence[OutboxMessage]) -> dict[UUID, list[Taking]]:
    """For each message what each consumer of its topic made of it."""
    by_id = {message.message_id: message for message in messages}
    ids = list(by_id)
    inbox = {(row.message_id, row.consumer): row for row in ProcessedMessage.objects.filter(message_id__in=ids)}
    dead = {
        (row.message_id, row.consumer): row.pk
        for row in DeadLetter.objects.filter(message_id__in=ids, resolved_at=None).defer("key", "value", "headers")
        if row.message_id and _is_record_of(by_id[row.message_id], row)
    }
    keys = {message.partition_key for message in messages}
    waiting = {
        (row.message_id, row.consumer): row.pk
        for row in ParkedMessage.objects.filter(partition_key__in=keys).only("message_id", "consumer")
    }
    takings: dict[UUID, list[Taking]] = defaultdict(list)
    for message in messages:
        for subscription in subscriptions():
            if message.topic in subscription.topics:
                place = message.message_id, subscription.consumer
                takings[message.message_id].append(
                    _taking(message, subscription.consumer, inbox.get(place), dead.get(place), waiting.get(place))
                )
    return takings


def _is_record_of(message: OutboxMessage, letter: DeadLetter) -> bool:
    """Whether the dead letter is this message. What could not be read may only claim its id: then its place tells."""
    if letter.reason not in (DeadLetter.Reason.UNREADABLE, DeadLetter.Reason.CORRUPT):
        return True
    receipt: OutboxReceipt | None = getattr(message, "receipt", None)
    at = (letter.topic, letter.partition, letter.offset)
    return receipt is not None and at == (message.topic, receipt.partition, receipt.offset)


def _taking(
    message: OutboxMessage, consumer: str, row: ProcessedMessage | None, dead: int | None, waiting: int | None
) -> Taking:
    if dead:
        return Taking(consumer, "dead letter", url=reverse("admin:messaging_deadletter_change", args=[dead]))
    if waiting:
        url = reverse("admin:messaging_parkedmessage_change", args=[waiting])
        return Taking(consumer, "waits for its predecessor", url=url)
    if row is None:
        return Taking(consumer, "not yet")
    return Taking(
        consumer,
        "taken",
        after=duration(row.processed_at - message.created_at),
        redeliveries=row.redeliveries,
        url=reverse("admin:messaging_processedmessage_change", args=[row.pk]),
    )
