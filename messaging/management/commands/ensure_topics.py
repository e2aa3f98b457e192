"""`manage.py ensure_topics`: make the declared topics, idempotently."""

from argparse import ArgumentParser
from typing import Any

from confluent_kafka import KafkaException
from django.core.management.base import BaseCommand, CommandError

from messaging.registry import topics
from messaging.store.kafka import admin_client
from messaging.store.topics import REPLICATION_FACTOR, create, missing, settings_of, wait_for_brokers


class Command(BaseCommand):
    help = "Make the topics that are declared and missing. An existing topic is not changed: see `doctor`."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--wait", action="store_true", help="wait until three brokers answer")
        parser.add_argument("--timeout", type=float, default=120, help="how long to wait, in seconds")
        parser.add_argument("--dry-run", action="store_true", help="say what would be made, and make nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        admin = admin_client()
        alive = wait_for_brokers(admin, count=REPLICATION_FACTOR, timeout=options["timeout"] if options["wait"] else 0)
        if alive < REPLICATION_FACTOR:
            raise CommandError(
                f"{alive} of {REPLICATION_FACTOR} brokers answer, and a topic needs {REPLICATION_FACTOR}. "
                "Start the brokers, then run `python manage.py ensure_topics --wait`."
            )
        try:
            to_make = missing(admin, topics())
            if not options["dry_run"]:
                create(admin, to_make)
        except KafkaException as error:
            raise CommandError(f"Kafka refused: {error.args[0].str()}") from error
        verb = "would make" if options["dry_run"] else "made"
        for topic in to_make:
            self.stdout.write(f"{verb} {topic.name}: {topic.partitions} partitions, {settings_of(topic)}")
        self.stdout.write(f"{len(topics())} topics declared, {len(to_make)} missing")
