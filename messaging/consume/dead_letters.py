"""What can never be handled is kept, as bytes, until an operator replays it. Nothing is skipped."""

from uuid import UUID

import structlog
from django.db import connection, transaction

from messaging.consume.delivery import Delivery
from messaging.consume.raw import RAW_COLUMNS, fingerprint, log_fields, raw_values
from messaging.envelope import Record, claimed_id
from messaging.models import DeadLetter

log = structlog.get_logger(__name__)


def bury_unreadable(consumer: str, record: Record, *, reason: str, detail: str) -> None:
    """Keep a record that cannot be read. What it claims cannot be trusted, so it gets no inbox row; if it was one of
    our messages, its successors park."""
    _insert(consumer, record, reason=reason, detail=detail, message_id=claimed_id(record), key="")


def bury(consumer: str, delivery: Delivery, *, reason: str, detail: str) -> None:
    """Keep a message. Its stream does not advance, so what follows it parks until it is replayed.

    Needs the transaction that holds the message's inbox row, where there is one: the two come together.
    """
    # An id that was reused belongs to the other message: this one goes by its offset alone.
    own_id = None if reason == DeadLetter.Reason.ID_CONFLICT else delivery.envelope.message_id
    key = delivery.envelope.partition_key
    _insert(consumer, delivery.record, reason=reason, detail=detail, message_id=own_id, key=key)


def _insert(consumer: str, record: Record, *, reason: str, detail: str, message_id: UUID | None, key: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO dead_letter
                (consumer, reason, detail, message_id, partition_key, fingerprint, {RAW_COLUMNS})
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (consumer, topic, partition, "offset", fingerprint) DO NOTHING
            """,
            # Text refuses NUL, and a dead letter must always fit.
            [consumer, reason, detail.replace("\x00", "?"), message_id, key, fingerprint(record), *raw_values(record)],
        )
        if cursor.rowcount:
            fields = {"consumer": consumer, "reason": reason} | log_fields(record)
            transaction.on_commit(lambda: log.error("dead letter", **fields))
