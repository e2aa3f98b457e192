"""When all has healed: wait until nothing travels any more, then let the outside checker look."""

from datetime import UTC, datetime

from django.conf import settings
from django.db import connection

from devservices.waiting import wait_until
from faults.checker import Verdict, check
from faults.losses import TOPICS
from tests.flow_tools import lag
from tests.process_tools import environment


def drains_in_a_moment() -> bool:
    """Whether soon every order is final, the queue empty and each group at the end of the log."""
    return wait_until(lambda: nothing_travels() and nothing_unread(), seconds=5)


def check_now(**what: object) -> Verdict:
    """The outside checker's verdict over the test's database and the log."""
    return check(database_url=environment()["DATABASE_URL"], bootstrap_servers=settings.KAFKA_BOOTSTRAP_SERVERS, **what)  # type: ignore[arg-type]


def lost_until_now() -> dict[str, datetime]:
    """For the checker: whatever was written until now, Kafka was made to lose."""
    return dict.fromkeys(TOPICS, datetime.now(UTC))


def nothing_travels() -> bool:
    """Nothing pending or parked, every order final."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT NOT EXISTS (SELECT FROM outbox_pending) AND NOT EXISTS (SELECT FROM parked_message)
               AND NOT EXISTS (SELECT FROM orders_order WHERE status = 'pending'
                               OR (status = 'confirmed' AND cancel_requested_at IS NOT NULL))
            """
        )
        drained: bool = cursor.fetchone()[0]
        return drained


def nothing_unread() -> bool:
    """Each group has committed the end of its log."""
    return lag("inventory") == 0 and lag("orders") == 0
