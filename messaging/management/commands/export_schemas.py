"""`manage.py export_schemas`: write docs/schemas/*.json and docs/asyncapi.json from the payload models."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from messaging.management.schemas import SCHEMAS, differing, documents


class Command(BaseCommand):
    help = "Publish the messages' schemas. With --check write nothing: exit status 1 while docs/ is out of date."
    # Needs no servers: CI runs it without any.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="only say what is out of date")
        parser.add_argument("--folder", type=Path, default=settings.BASE_DIR / "docs", help="default: docs/")

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["folder"]
        changed = differing(folder)
        if options["check"] and changed:
            raise CommandError(
                f"out of date: {', '.join(map(str, changed))}. "
                "Run `python manage.py export_schemas` and commit the result."
            )
        (folder / SCHEMAS).mkdir(parents=True, exist_ok=True)
        wanted = documents()
        for path in changed:
            if path in wanted:
                (folder / path).write_text(wanted[path], encoding="utf-8")
            else:
                (folder / path).unlink()
            self.stdout.write(f"{'wrote' if path in wanted else 'removed'} {folder / path}")
        self.stdout.write(f"{len(wanted)} files, {len(changed)} changed")
