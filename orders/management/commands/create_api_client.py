"""`manage.py create_api_client NAME`: make a client of the API and show its token, once."""

import hashlib
import secrets
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import IntegrityError

from orders.models import ApiClient


class Command(BaseCommand):
    help = "Make a client of the API. The token is printed once; only its hash is kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="a name for the client, unique")
        parser.add_argument("--replace", action="store_true", help="give an existing client a new token")

    def handle(self, *args: Any, **options: Any) -> None:
        token = secrets.token_urlsafe(32)
        values = {"token_sha256": hashlib.sha256(token.encode()).hexdigest()}
        try:
            if options["replace"]:
                ApiClient.objects.update_or_create(name=options["name"], defaults=values)
            else:
                ApiClient.objects.create(name=options["name"], **values)
        except IntegrityError as error:
            raise CommandError(
                f"a client named {options['name']!r} exists. Choose another name, or run with --replace: "
                "its old token then stops working."
            ) from error
        self.stdout.write(token)
