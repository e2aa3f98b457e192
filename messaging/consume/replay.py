"""An operator's second chance for a dead letter, when the cause is mended."""

from django.db import connection, transaction

from messaging.consume import inbox, key_order
from messaging.consume.batch import hand_over
from messaging.consume.blame import fault_of_message
from messaging.consume.delivery import Delivery
from messaging.consume.raw import RAW_COLUMNS, from_row
from messaging.envelope import decode
from messaging.errors import Poison, ReplayRefused
from messaging.registry import Subscription, subscription


def replay(dead_letter_id: int) -> None:
    """Handle the dead letter as if it had just arrived, then what was parked behind it.

    One transaction, which locks the dead letter: of two operators one is told that it is resolved.
    A message that comes before its predecessor parks. Raises ReplayRefused, and then nothing changed.
    """
    with transaction.atomic():
        consumer, delivery = _mark_resolved(dead_letter_id)
        if inbox.is_reused(consumer, delivery):
            raise ReplayRefused("another message was taken with this id: its sender must give it one of its own")
        if not inbox.is_taken(consumer, delivery):  # it could not be read when it came
            inbox.take(consumer, [delivery])
        admitted = key_order.admit(consumer, [delivery])
        if admitted.conflicting:
            raise ReplayRefused("another message was applied with this sequence: this one came too late")
        declared = _declared(consumer)
        try:
            hand_over(declared, admitted.ready)
        except Exception as error:
            fault = fault_of_message(error)
            if fault is None:
                raise
            raise ReplayRefused(f"it failed again: {fault.detail}") from error


def _declared(consumer: str) -> Subscription:
    try:
        return subscription(consumer)
    except KeyError:
        raise ReplayRefused(f"no consumer {consumer!r} is declared in config/registry.py any more") from None


def _mark_resolved(dead_letter_id: int) -> tuple[str, Delivery]:
    """Mark it, and return its consumer and its message. Raises ReplayRefused."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            UPDATE dead_letter SET resolved_at = now() WHERE id = %s AND resolved_at IS NULL
            RETURNING consumer, {RAW_COLUMNS}
            """,
            [dead_letter_id],
        )
        row = cursor.fetchone()
    if row is None:
        raise ReplayRefused("there is no unresolved dead letter with this id")
    record = from_row(row[1:])
    try:
        return row[0], Delivery(decode(record), record)
    except Poison as poison:
        raise ReplayRefused(f"it still cannot be read: {poison.detail}") from poison
