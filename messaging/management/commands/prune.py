"""`manage.py prune`: remove what is published, confirmed by every subscriber, and old."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from messaging.prove.retention import prunable, prune


class Command(BaseCommand):
    help = (
        "Remove messages that every subscriber has confirmed and inbox ids that no topic can bring again, once they "
        "are older than OUTBOX_RETENTION_DAYS and INBOX_RETENTION_DAYS. The ledger is never pruned."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["dry_run"]:
            found, verb = prunable(), "would remove"
        else:
            found, verb = prune(progress=self._progress), "removed"
        self.stdout.write(
            f"{verb} {found.messages} messages older than {settings.OUTBOX_RETENTION_DAYS} days "
            f"and {found.inbox} inbox ids older than {settings.INBOX_RETENTION_DAYS} days"
        )

    def _progress(self, rows: int) -> None:
        if rows:
            self.stderr.write(f"{rows} rows removed")
