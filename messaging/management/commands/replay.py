"""`manage.py replay ID --reason …`: give a dead letter its second chance."""

from argparse import ArgumentParser
from typing import Any

import structlog
from django.core.management.base import BaseCommand, CommandError

from messaging.consume.replay import replay
from messaging.errors import ReplayRefused
from messaging.models import DeadLetter

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Replay dead letters, in the order given. The admin does the same, and knows who asked."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", nargs="+", type=int, help="ids of unresolved dead letters")
        parser.add_argument("--reason", required=True, help="why they can be handled now; it stands in the log")
        parser.add_argument("--dry-run", action="store_true", help="say what would be replayed, and replay nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        for dead_letter_id in options["ids"]:
            if options["dry_run"]:
                found = DeadLetter.objects.filter(pk=dead_letter_id, resolved_at__isnull=True).first()
                self.stdout.write(
                    f"would replay {found or f'nothing: {dead_letter_id} is not an unresolved dead letter'}"
                )
                continue
            try:
                replay(dead_letter_id)
            except ReplayRefused as error:
                raise CommandError(f"dead letter {dead_letter_id}: {error}") from error
            log.info("dead letter replayed", dead_letter=dead_letter_id, reason=options["reason"])
            self.stdout.write(f"dead letter {dead_letter_id}: replayed")
