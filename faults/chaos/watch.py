"""Look at the running system twice a second: the stock as a bank reads its accounts, the backlog, the leaders."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg
from confluent_kafka import KafkaException

from faults.system import System

INTERVAL_SECONDS = 0.5

_LOOK = """
    SELECT (SELECT count(*) FROM outbox_pending),
           (SELECT count(*) FROM orders_order),
           (SELECT count(*) FROM dead_letter),
           (SELECT coalesce(max(attempts), 0) FROM outbox_pending),
           (SELECT coalesce(string_agg(wrong.sku, ', '), '') FROM (
               SELECT i.sku FROM inventory_stockitem i LEFT JOIN inventory_stockmovement m ON m.sku = i.sku
               GROUP BY i.sku HAVING i.on_hand < 0 OR i.initial + coalesce(sum(m.quantity), 0) <> i.on_hand
           ) AS wrong)
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look; `at` is in seconds after the start."""

    at: float
    pending: int
    accepted: int
    dead_letters: int
    attempts: int


@dataclass(slots=True)
class Seen:
    """Everything that was seen.

    `unsettled` are looks at which the stock did not add up, with the SKUs; `blamed` those at which a message had a
    dead letter or a spent attempt, which no fault of the infrastructure may cause. `failures` ended the watch itself.
    """

    samples: list[Sample] = field(default_factory=list)
    unsettled: list[str] = field(default_factory=list)
    blamed: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    blind: int = 0
    leader_changes: int = 0


class Watch:
    """Looks from its own thread until it is stopped; a server that is away makes it blind for that look."""

    def __init__(self, system: System) -> None:
        self.seen = Seen()
        self._system = system
        self._stop = threading.Event()
        self._leaders: dict[tuple[str, int], int] = {}
        self._threads = [
            threading.Thread(target=self._watched, args=[work], daemon=True)
            for work in (self._look_often, self._follow_leaders)
        ]
        self.started = time.monotonic()

    def start(self) -> None:
        self.started = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> Seen:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.seen

    def _watched(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.seen.failures.append(repr(error))

    def _look_often(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            self.look()

    def look(self) -> None:
        """Look once at the database."""
        try:
            # A new connection each time: a fault ends the old ones.
            with psycopg.connect(self._system.database_url, connect_timeout=2) as connection:
                # One snapshot for the sums: a transfer must never be seen half done.
                row = connection.execute(_LOOK).fetchone()
        except psycopg.Error:
            self.seen.blind += 1
            return
        assert row is not None  # noqa: S101 - a SELECT without FROM has one row
        *numbers, wrong = row
        look = Sample(time.monotonic() - self.started, *numbers)
        self.seen.samples.append(look)
        if wrong:
            self.seen.unsettled.append(f"{look.at:.1f} s: {wrong}")
        if look.dead_letters or look.attempts:
            self.seen.blamed.append(f"{look.at:.1f} s: {look.dead_letters} dead letters, {look.attempts} attempts")

    def _follow_leaders(self) -> None:
        admin = self._system.admin()
        while not self._stop.wait(INTERVAL_SECONDS):
            try:
                topics = admin.list_topics(timeout=2).topics.values()
            except KafkaException:
                continue
            now = {
                (str(topic.topic), number): part.leader
                for topic in topics
                for number, part in topic.partitions.items()
                if part.leader > 0
            }
            changed = [key for key, leader in now.items() if self._leaders.get(key, leader) != leader]
            self.seen.leader_changes += len(changed)
            self._leaders |= now
