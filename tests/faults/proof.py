"""The proof after a fault: all is final within a bound, nothing lost, nothing twice, no dead letter."""

import time
from collections.abc import Callable, Collection
from uuid import UUID

from confluent_kafka import KafkaException
from django.db import Error as DatabaseError
from django.db import connection

from messaging.models import DeadLetter, OutboxPending
from messaging.prove.audit import Report, audit
from tests.faults.drained import check_now, nothing_unread
from tests.faults.load import Load
from tests.flow_tools import wait_until

DRAIN_SECONDS = 60.0


def assert_nothing_lost(
    load: Load | None = None, *, accepted: Collection[UUID] = (), within: float = DRAIN_SECONDS
) -> Report:
    """Wait until all is drained; then no order, message or stock may be lost, doubled, stuck or set aside.

    `accepted` are orders that were answered with success beside the load's.
    """
    last: list[Report] = []

    def drained() -> bool:
        last[:] = [audit()]
        return not (last[0].pending or last[0].stuck) and nothing_unread()

    try:
        wait_until(patiently(drained), what="everything is final", seconds=within)
    except AssertionError as error:
        raise AssertionError(f"{error}: {last[0].as_json() if last else 'the audit found no answer'}") from None
    report = audit(deep=True)
    assert report.as_json()["ids"] == {"lost": [], "extra": [], "stuck": [], "stock_mismatches": []}
    assert report.written == report.acknowledged == report.in_log
    assert report.parked == 0
    assert_no_dead_letter()
    # And once more by somebody who shares no code with the product.
    answered = load.answered() if load else {"accepted": []}
    answered["accepted"] += [str(order_id) for order_id in accepted]
    verdict = check_now(**answered, groups_at_the_end=True)
    assert not verdict.violations, f"{verdict.violations}: {verdict.histories}"
    return report


def assert_no_dead_letter() -> None:
    """An infrastructure fault is no message's fault."""
    assert list(DeadLetter.objects.values_list("reason", "detail")) == []


def assert_no_attempt_spent() -> None:
    """Whatever waits for Kafka waits without blame: it is neither parked nor nearer to it."""
    blamed = OutboxPending.objects.exclude(attempts=0, last_error="", parked_at=None)
    assert list(blamed.values("pk", "attempts", "last_error")) == []


def patiently(condition: Callable[[], object]) -> Callable[[], bool]:
    """The condition, which does not hold while a server has no answer to it."""

    def asked() -> bool:
        try:
            return bool(condition())
        except (DatabaseError, KafkaException):
            connection.close()
            time.sleep(0.2)
            return False

    return asked
