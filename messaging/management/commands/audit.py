"""`manage.py audit`: the proof, or the ids for which it fails."""

from argparse import ArgumentParser
from typing import Any

from confluent_kafka import KafkaException
from django.core.management.base import BaseCommand, CommandError

from messaging.management.arguments import add_format, as_json
from messaging.prove.audit import audit
from messaging.prove.repair import repair
from messaging.prove.report import MOST_SHOWN


class Command(BaseCommand):
    help = (
        "Compare outbox, receipts, Kafka, inbox and ledger. Exit status 1 while anything is missing or extra; "
        "what still travels is not missing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--deep", action="store_true", help="read the whole log, compare ids and sha256")
        parser.add_argument(
            "--new",
            action="store_true",
            help="only what is new since the last --new audit found all confirmed; beat does this every 15 s",
        )
        parser.add_argument(
            "--repair",
            action="store_true",
            help="put back what Kafka lost, under the same ids; without --apply it only says what it would do",
        )
        parser.add_argument("--apply", action="store_true", help="with --repair: do it")
        add_format(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["apply"] and not options["repair"]:
            raise CommandError("--apply needs --repair: `manage.py audit --repair --apply`")
        if options["new"] and options["deep"]:
            raise CommandError("--deep reads the whole log, --new only what is new: choose one of them")
        try:
            report = audit(deep=options["deep"], new_only=options["new"])
        except KafkaException as error:
            raise CommandError(
                f"Kafka does not answer, so nothing is proven: {error.args[0].str()}. "
                "Start it (`make up`), or see what is wrong: `python manage.py doctor`."
            ) from error
        answer = report.as_json()
        if options["repair"]:
            done = repair(report.losses) if options["apply"] else 0
            answer |= {"put_back": done, "would_put_back": len(report.losses)}
        if options["format"] == "json":
            self.stdout.write(as_json(answer))
        else:
            self._write_text(answer, adds_up=report.adds_up)
        if not report.adds_up:
            raise SystemExit(1)

    def _write_text(self, answer: dict[str, Any], *, adds_up: bool) -> None:
        ids: dict[str, list[str]] = answer.pop("log_ids") | answer.pop("ids")
        after_id = answer.pop("after_id")
        if after_id:
            self.stdout.write(f"only what is new, after outbox id {after_id}")
        for name, count in answer.items():
            self.stdout.write(f"{name:>17}  {'not read (--deep)' if count is None else count}")
        for name, found in ids.items():
            for entry in found[:MOST_SHOWN]:
                self.stdout.write(f"{name}: {entry}")
            if len(found) > MOST_SHOWN:
                self.stdout.write(f"{name}: … and {len(found) - MOST_SHOWN:,} more (`--format json` names all)")
        verdict = "it adds up" if adds_up else "IT DOES NOT ADD UP"
        self.stdout.write("lost {lost}, extra {extra}, stuck {stuck}".format(**answer) + f": {verdict}")
