"""`manage.py consume inventory`: one member of a consumer group."""

import gc
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from messaging.consume.consumer import run
from messaging.errors import FatalClientError, UnsafeCluster
from messaging.management.arguments import add_unsafe, allow_unsafe, stop_on_signals
from messaging.registry import subscription, subscriptions
from messaging.store.guard import wait_until_safe


class Command(BaseCommand):
    help = "Consume messages until stopped: database commit first, offset commit after."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "consumer",
            choices=[declared.consumer for declared in subscriptions()],
            help="which consumer to run",
        )
        add_unsafe(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        allow_unsafe(options)
        stop = stop_on_signals()
        try:
            wait_until_safe(stop)
            gc.freeze()  # what was imported stays: not to be searched again at each collection
            run(subscription(options["consumer"]), stop=stop)
        except (UnsafeCluster, FatalClientError) as error:
            raise CommandError(str(error)) from error
