"""Look into the log before each fault that makes Kafka lose records: afterwards nobody can say what it held."""

import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from faults.checker import Violation, look_into_the_log
from faults.kafka_admin import all_in_sync
from faults.log import LogUnreadable

PATIENCE_SECONDS = 10.0  # other faults go on meanwhile: where nobody answers so long, the look is given up
NEXT_LOOK_SECONDS = 2.0


class LogLooks:
    """What was seen, and until when records of which topic were made to vanish. For one thread at a time."""

    def __init__(self, database_url: str, brokers: Callable[[], str]) -> None:
        self._database_url = database_url
        self._brokers = brokers
        self.lost_until: dict[str, datetime] = {}
        self.looks = 0
        self.blind = 0  # of the looks: nobody answered, or a replica stayed out of sync
        self.held: set[str] = set()  # the messages that were seen at their place
        self.missing: list[str] = []

    def look(self) -> None:
        """Hold every receipt against the log; what it lacks with every replica in sync, and nobody made vanish, is
        missing.

        Not before: a new leader shows only what it knows that min.insync.replicas of them hold, until they are back.
        """
        self.looks += 1
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            lacking, in_sync = self._lacking(), False
            while lacking and not in_sync:
                if time.monotonic() > deadline:
                    raise LogUnreadable("a replica stays out of sync")
                time.sleep(NEXT_LOOK_SECONDS)
                in_sync = all_in_sync(self._admin())
                lacking &= self._lacking()
        except (LogUnreadable, KafkaException, psycopg.Error):
            self.blind += 1
            return
        self.missing += sorted(map(str, lacking))

    def note_losses(self, topics: Collection[str]) -> None:
        """Records of these topics may be gone, if they were written before now."""
        self.lost_until |= dict.fromkeys(topics, datetime.now(UTC))

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self._brokers(), "log_level": 0})

    def _lacking(self) -> set[Violation]:
        held, lacking = look_into_the_log(
            database_url=self._database_url,
            bootstrap_servers=self._brokers(),
            lost_until=self.lost_until,
            patience=PATIENCE_SECONDS,
        )
        self.held |= held
        return set(lacking)
