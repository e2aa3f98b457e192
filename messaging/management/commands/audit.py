"""`manage.py audit`: the proof, or the ids for which it fails."""

from argparse import ArgumentParser
from typing import Any

from confluent_kafka import KafkaException
from django.core.management.base import BaseCommand, CommandError

from messaging.management.arguments import add_format, as_json
from messaging.prove.audit import audit


class Command(BaseCommand):
    help = (
        "Compare outbox, receipts, Kafka, inbox and ledger. Exit status 1 while anything is missing or extra; "
        "what still travels is not missing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--deep", action="store_true", help="read the whole log, compare ids and sha256")
        add_format(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = audit(deep=options["deep"])
        except KafkaException as error:
            raise CommandError(
                f"Kafka does not answer, so nothing is proven: {error.args[0].str()}. Run `python manage.py doctor`."
            ) from error
        answer = report.as_json()
        if options["format"] == "json":
            self.stdout.write(as_json(answer))
        else:
            self._write_text(answer)
        if not report.nothing_missing:
            raise SystemExit(1)

    def _write_text(self, answer: dict[str, Any]) -> None:
        ids: dict[str, list[str]] = answer.pop("ids")
        for name, count in answer.items():
            self.stdout.write(f"{name:>17}  {'not read (--deep)' if count is None else count}")
        for name, found in ids.items():
            for entry in found:
                self.stdout.write(f"{name}: {entry}")
