"""`manage.py replay ID`: give a dead letter its second chance."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from messaging.consume.replay import replay
from messaging.errors import ReplayRefused
from messaging.models import DeadLetter


class Command(BaseCommand):
    help = "Replay dead letters, in the order given. The admin does the same and asks for a reason."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", nargs="+", type=int, help="ids of unresolved dead letters")
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
            self.stdout.write(f"dead letter {dead_letter_id}: replayed")
