"""`manage.py relay`: the relay's loop without Celery."""

import gc
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from messaging.errors import UnsafeCluster
from messaging.management.arguments import add_unsafe, allow_unsafe, stop_on_signals
from messaging.produce.relay import Relay, run
from messaging.store.guard import wait_until_safe


class Command(BaseCommand):
    help = "Publish pending messages to Kafka until stopped: the same loop that Celery beat starts."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_unsafe(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        allow_unsafe(options)
        stop = stop_on_signals()
        try:
            wait_until_safe(stop)
        except UnsafeCluster as error:
            raise CommandError(str(error)) from error
        gc.freeze()  # what was imported stays: not to be searched again at each collection
        run(Relay(), stop=stop, shift_seconds=settings.RELAY_SHIFT_SECONDS)
