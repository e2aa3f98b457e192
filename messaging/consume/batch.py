"""Apply a batch of records. Every function here needs the transaction that its caller opened: inbox
rows, effects, replies and dead letters are committed together or not at all."""

from collections import deque
from collections.abc import Sequence

from django.db import transaction

from messaging.consume import dead_letters, inbox, key_order
from messaging.consume.blame import fault_of_message
from messaging.consume.delivery import Delivery
from messaging.envelope import Record, decode
from messaging.errors import Poison
from messaging.models import DeadLetter
from messaging.registry import Subscription


def apply(subscription: Subscription, records: Sequence[Record]) -> None:
    """Handle each message that is new and next in its stream, then what was parked behind it.

    Raises whatever the handler raises: roll back, and go on with `apply` for one record at a time.
    """
    consumer = subscription.consumer
    taken = inbox.take(consumer, _decode_or_bury(consumer, records))
    for delivery in taken.reused:
        dead_letters.bury(
            consumer,
            delivery,
            reason=DeadLetter.Reason.ID_CONFLICT,
            detail=f"another message was taken before with the id {delivery.envelope.message_id}",
        )
    if taken.new:
        admitted = key_order.admit(consumer, taken.new)
        _bury_conflicting(consumer, admitted.conflicting)
        hand_over(subscription, admitted.ready)


def hand_over(subscription: Subscription, ready: Sequence[Delivery]) -> None:
    """Hand the messages to the domain, then one by one what was parked behind them."""
    if not ready:
        return
    subscription.handle([delivery.envelope for delivery in ready])
    successors = deque(key_order.advance(subscription.consumer, ready))
    while successors:
        successors.extend(_handle_successor(subscription, successors.popleft()))


def _handle_successor(subscription: Subscription, successor: Delivery) -> list[Delivery]:
    """Handle a message that was parked; returns its own successor. Its fault must not undo its predecessor."""
    try:
        with transaction.atomic():
            # Two may have been parked with one sequence: only the first of them is next.
            admitted = key_order.admit(subscription.consumer, [successor])
            _bury_conflicting(subscription.consumer, admitted.conflicting)
            if not admitted.ready:
                return []
            subscription.handle([successor.envelope])
            return key_order.advance(subscription.consumer, [successor])
    except Exception as error:
        fault = fault_of_message(error)
        if fault is None:
            raise
        dead_letters.bury(subscription.consumer, successor, reason=fault.reason, detail=fault.detail)
        return []


def _bury_conflicting(consumer: str, conflicting: Sequence[Delivery]) -> None:
    for delivery in conflicting:
        dead_letters.bury(
            consumer,
            delivery,
            reason=DeadLetter.Reason.SEQUENCE_CONFLICT,
            detail=f"sequence {delivery.envelope.sequence} of this stream was applied by another message",
        )


def bury(subscription: Subscription, record: Record, *, reason: str, detail: str) -> None:
    """Take a message that failed, and keep it as a dead letter."""
    for delivery in inbox.take(subscription.consumer, _decode_or_bury(subscription.consumer, [record])).new:
        dead_letters.bury(subscription.consumer, delivery, reason=reason, detail=detail)


def _decode_or_bury(consumer: str, records: Sequence[Record]) -> list[Delivery]:
    """The messages among the records. What cannot be read becomes a dead letter here."""
    deliveries = []
    for record in records:
        try:
            deliveries.append(Delivery(decode(record), record))
        except Poison as poison:
            dead_letters.bury_unreadable(consumer, record, reason=poison.reason, detail=poison.detail)
    return deliveries
