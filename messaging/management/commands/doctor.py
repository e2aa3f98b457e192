"""`manage.py doctor`: read the live cluster and database, and say what could lose a message."""

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from confluent_kafka import KafkaException
from django.core.management.base import BaseCommand, CommandError

from messaging.management.arguments import add_format, as_json
from messaging.registry import topics
from messaging.store.doctor import examine, unsafe
from messaging.store.kafka import admin_client


class Command(BaseCommand):
    help = "Examine the live Kafka cluster and PostgreSQL. Exit status 1 while anything can lose a message."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_format(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            findings = examine(admin_client(), topics())
        except KafkaException as error:
            raise CommandError(
                f"Kafka does not answer: {error.args[0].str()}. Start it (`make up`), or mend KAFKA_BOOTSTRAP_SERVERS."
            ) from error
        if options["format"] == "json":
            self.stdout.write(as_json([asdict(finding) for finding in findings]))
        else:
            for f in findings:
                self.stdout.write(
                    f"{f.severity.upper()} {f.id} {f.subject}: {f.found}\n  risk: {f.risk}\n  mend: {f.mend}"
                )
            self.stdout.write(f"findings: {len(findings)}, of which unsafe: {len(unsafe(findings))}")
        if unsafe(findings):
            raise SystemExit(1)
