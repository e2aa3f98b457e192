"""Flags and manners that the commands share."""

import json
import signal
import threading
from argparse import ArgumentParser
from types import FrameType
from typing import Any

from django.conf import settings


def add_format(parser: ArgumentParser) -> None:
    parser.add_argument("--format", choices=["text", "json"], default="text", help="for people or for machines")


def add_unsafe(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--unsafe", action="store_true", help="start although the doctor finds that messages can be lost"
    )


def allow_unsafe(options: dict[str, Any]) -> None:
    if options["unsafe"]:
        settings.ALLOW_UNSAFE_CLUSTER = True


def as_json(value: object) -> str:
    return json.dumps(value, indent=2, default=str)


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set: the work in hand is finished first."""
    stop = threading.Event()

    def on_signal(_: int, __: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop
