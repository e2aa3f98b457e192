"""`manage.py` in a process whose Kafka client dies of a fatal error: python -m tests.consume.fatal_client poll …"""

import sys
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException

import manage
from messaging.consume import reader

FENCED = "this member was fenced"


class Event:
    """What the client hands out instead of a record."""

    def error(self) -> KafkaError:
        return KafkaError(KafkaError._FATAL, FENCED, fatal=True)


class DiesWhenItPolls(Consumer):
    def poll(self, timeout: float = -1) -> Any:
        super().poll(timeout)
        return Event()


class DiesWhenItCommits(Consumer):
    def commit(self, *args: Any, **options: Any) -> Any:
        raise KafkaException(Event().error())


if __name__ == "__main__":
    reader.Consumer = {"poll": DiesWhenItPolls, "commit": DiesWhenItCommits}[sys.argv.pop(1)]
    manage.main()
