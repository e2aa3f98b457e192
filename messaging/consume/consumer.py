"""The consumer: read a batch, commit its effects in the database, and only then let its offsets be committed.

The order is the guarantee. A crash between the two commits brings the batch again, and the inbox
absorbs it; the other way round, the crash would lose it.
"""

import threading
from collections.abc import Sequence

import structlog
from django.db import Error as DatabaseError
from django.db import connection, transaction

from messaging.consume import batch
from messaging.consume.blame import WAITED_OUT, fault_of_message
from messaging.consume.reader import Reader
from messaging.envelope import Record
from messaging.errors import BatchPostponed
from messaging.registry import Subscription

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
REST_SECONDS = (0.2, 5.0)  # the shortest and the longest wait while the database is in trouble
# Another transaction won: the same work will succeed when it is run again.
# 40001 serialization_failure, 40P01 deadlock_detected
_RUN_AGAIN = {"40001", "40P01"}


def run(subscription: Subscription, *, stop: threading.Event) -> None:
    """Consume until told to stop; the batch in hand is finished first.

    Trouble with the database or the brokers is waited out. Raises FatalClientError.
    """
    reader = Reader(subscription)
    rest = REST_SECONDS[0]
    try:
        while not stop.is_set():
            try:
                run_once(subscription, reader, rest=rest)
                rest = REST_SECONDS[0]
            except BatchPostponed as error:
                log.warning("a batch could not be handled, trying again", error=str(error), waited_seconds=rest)
                connection.close()
                rest = min(rest * 2, REST_SECONDS[1])
    finally:
        reader.close()
        log.info("consumer stopped", consumer=subscription.consumer)


def run_once(subscription: Subscription, reader: Reader, *, rest: float = REST_SECONDS[0]) -> int:
    """One batch: read it, apply it, then tell the reader that it is handled. Returns the number of records.

    Raises BatchPostponed when something other than a message is at fault: the reader stands before the batch
    again. After any other error it may not, so let the process end: what is not committed comes again.
    """
    records = reader.next_batch(POLL_SECONDS)
    if not records:
        return 0
    try:
        apply_or_bury(subscription, records)
    except WAITED_OUT as error:
        reader.rewind(records, wait=rest)
        raise BatchPostponed(str(error)) from error
    reader.handled(records)
    return len(records)


def apply_or_bury(subscription: Subscription, records: Sequence[Record]) -> None:
    """Commit the effects of these records; one that is at fault ends as a dead letter.

    Raises the error when no message is at fault; what was committed until then stays.
    """
    try:
        _apply_in_transaction(subscription, records)
    except Exception as error:
        if fault_of_message(error) is None:
            raise
        log.warning("a message failed its batch, handling one by one", error=str(error), records=len(records))
        for record in records:
            _apply_or_bury_one(subscription, record)


def _apply_or_bury_one(subscription: Subscription, record: Record) -> None:
    try:
        _apply_in_transaction(subscription, [record])
    except Exception as error:
        fault = fault_of_message(error)
        if fault is None:
            raise
        with transaction.atomic():
            batch.bury(subscription, record, reason=fault.reason, detail=fault.detail)


def _apply_in_transaction(subscription: Subscription, records: Sequence[Record]) -> None:
    while True:
        try:
            with transaction.atomic(durable=True):
                batch.apply(subscription, records)
            return
        except DatabaseError as error:
            if getattr(error.__cause__, "sqlstate", None) not in _RUN_AGAIN:
                raise
            log.info("another transaction came first, running again", error=str(error))
