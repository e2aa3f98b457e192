"""`manage.py ensure_topics`: make the declared topics, idempotently."""

from argparse import ArgumentParser
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from messaging.registry import topics
from messaging.store.identity import of_topics, others_than_provisioned, write_down
from messaging.store.kafka import admin_client
from messaging.store.topics import REPLICATION_FACTOR, create, missing, settings_of, wait_for_brokers


class Command(BaseCommand):
    help = "Make the topics that are declared and missing. An existing topic is not changed: see `doctor`."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--wait", action="store_true", help="wait until three brokers answer")
        parser.add_argument("--timeout", type=float, default=120, help="how long to wait, in seconds")
        parser.add_argument(
            "--adopt",
            action="store_true",
            help="from now take the topics of this cluster for ours, also where others were provisioned (see `doctor`)",
        )
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
            self._provision(admin, dry_run=options["dry_run"], adopt=options["adopt"])
        except KafkaException as error:
            raise CommandError(f"Kafka refused: {error.args[0].str()}") from error
        except DatabaseError as error:
            raise CommandError(
                f"it could not be written down which topics these are: {error} Run `python manage.py migrate` first."
            ) from error

    def _provision(self, admin: AdminClient, *, dry_run: bool, adopt: bool) -> None:
        to_make = missing(admin, topics())
        there = of_topics(admin, [topic.name for topic in topics() if topic not in to_make])
        others = others_than_provisioned(there)
        if not dry_run:
            create(admin, to_make)
            write_down(of_topics(admin, [topic.name for topic in to_make]), replace=True)
            write_down(there, replace=adopt)
        for topic in to_make:
            verb = "would make" if dry_run else "made"
            self.stdout.write(f"{verb} {topic.name}: {topic.partitions} partitions, {settings_of(topic)}")
        for name in others:
            verb = "would adopt" if dry_run else "adopted"
            self.stdout.write(
                f"{verb} {name}" if adopt else f"{name} is not the topic that was provisioned: see `doctor`"
            )
        self.stdout.write(f"{len(topics())} topics declared, {len(to_make)} missing")
