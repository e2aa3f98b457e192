"""The proof: what the database and Kafka's own log say happened, and whether it adds up."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient
from django.db import Error as DatabaseError
from django.db import connection

from messaging.models import RelayShard
from messaging.prove.audit import audit
from messaging.registry import subscriptions
from orders.models import Order


@dataclass(frozen=True, slots=True)
class Proof:
    """The audit's counts, the latency of this run, and every sum that must hold."""

    report: dict[str, Any]
    latency_ms: tuple[float, float]
    unknown_ids: list[str]
    waiting_ids: list[str]

    @property
    def stuck(self) -> int:
        r = self.report
        return int(r["stuck"] + r["pending"] + r["parked"] + r["dead_letters"])

    def sums(self) -> list[tuple[str, bool]]:
        """Each statement of the proof with its numbers, and whether it holds."""
        r = self.report
        decided = r["confirmed"] + r["rejected"] + r["cancelled"]
        return [
            (
                f"accepted {r['accepted']} = confirmed {r['confirmed']} + rejected {r['rejected']}"
                f" + cancelled {r['cancelled']}",
                r["accepted"] == decided == r["final"],
            ),
            (
                f"written {r['written']} = acknowledged {r['acknowledged']} = in the log {r['in_log']}"
                f" = applied once {r['applied']}",
                r["written"] == r["acknowledged"] == r["in_log"] == r["applied"],
            ),
            (
                f"stock: initial + ledger = on hand for every SKU, {r['stock_mismatches']} differ",
                not r["stock_mismatches"],
            ),
            (
                f"orders answered with 201 and not in the database: {len(self.unknown_ids)}",
                not self.unknown_ids,
            ),
        ]

    def as_json(self) -> dict[str, Any]:
        """All of it, for machines: the audit's report and what this run adds."""
        of_this_run = {name: value for name, value in asdict(self).items() if name != "report"}
        p50, p99 = self.latency_ms
        return self.report | of_this_run | {"latency_ms": {"p50": p50, "p99": p99}}

    @property
    def holds(self) -> bool:
        r = self.report
        return all(ok for _, ok in self.sums()) and not (r["lost"] or r["extra"] or self.stuck)


def database_now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
        return now


def flow_is_ready(admin: AdminClient) -> bool:
    """Whether a relay holds the queue and every consumer has a member with its partitions."""
    try:
        groups = admin.describe_consumer_groups([declared.consumer for declared in subscriptions()])
        stable = all(group.result(10).state == ConsumerGroupState.STABLE for group in groups.values())
    except KafkaException:
        return False
    return stable and RelayShard.objects.exclude(owner="").exists()


def wait_until_final(*, since: datetime, seconds: float, progress: Callable[[int], None]) -> bool:
    """Wait until every order is final and nothing is pending. False when the deadline passed first."""
    deadline = time.monotonic() + seconds
    while True:
        waiting = _not_final(since)
        progress(waiting)
        if waiting == 0:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)


def prove(*, answered: set[str], since: datetime) -> Proof:
    """Audit everything, the log included. A server that is just coming back is waited for."""
    deadline = time.monotonic() + 60
    while True:
        try:
            report = audit(deep=True).as_json()
            break
        except (KafkaException, DatabaseError):
            if time.monotonic() > deadline:
                raise
            time.sleep(1)
    known = {str(pk) for pk in Order.objects.filter(created_at__gte=since).values_list("pk", flat=True)}
    return Proof(report, _latency(since), sorted(answered - known), _waiting_ids())


def _not_final(since: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (SELECT count(*) FROM orders_order WHERE created_at >= %s AND (status = 'pending'
                    OR (status = 'confirmed' AND cancel_requested_at IS NOT NULL)))
                 + (SELECT count(*) FROM outbox_pending)
                 + (SELECT count(*) FROM outbox_message m WHERE m.created_at >= %s AND NOT EXISTS
                      (SELECT FROM processed_message p WHERE p.message_id = m.message_id))
            """,
            [since, since],
        )
        count: int = cursor.fetchone()[0]
        return count


def _waiting_ids() -> list[str]:
    """The messages that are pending, untaken, parked or dead letters, and where."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT message_id || ' (in the outbox)' FROM outbox_message m JOIN outbox_pending p ON p.outbox_id = m.id
            UNION ALL SELECT m.message_id || ' (acknowledged, and taken by nobody)' FROM outbox_message m
                      JOIN outbox_receipt r ON r.outbox_id = m.id
                      WHERE NOT EXISTS (SELECT FROM processed_message p WHERE p.message_id = m.message_id)
            UNION ALL SELECT message_id || ' (parked by ' || consumer || ')' FROM parked_message
            UNION ALL SELECT coalesce(message_id::text, 'no id') || ' (dead letter ' || id || ')' FROM dead_letter
                      WHERE resolved_at IS NULL
            """
        )
        return [text for (text,) in cursor.fetchall()]


def _latency(since: datetime) -> tuple[float, float]:
    """Milliseconds from an order's acceptance to its decision: the median, and the 99th percentile."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT percentile_cont(ARRAY[.5, .99]) WITHIN GROUP
                   (ORDER BY extract(epoch FROM decided_at - created_at) * 1000)
            FROM orders_order WHERE created_at >= %s AND cancel_requested_at IS NULL AND decided_at IS NOT NULL
            """,
            [since],
        )
        p50, p99 = cursor.fetchone()[0] or (0.0, 0.0)
        return p50, p99
