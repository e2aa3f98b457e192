"""`python -m benchmarks`: needs the servers' addresses in its environment (`make bench` gives them)."""

import argparse
import gc
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import django

from demo import system
from devservices import Stack

NAMES = ("place_order", "relay", "consumer", "latency", "audit", "admin")


def main() -> int:
    arguments = _parser().parse_args()
    stack = Stack(Path(os.environ["DEVSERVICES_FOLDER"]))
    os.environ.update(system.settings(stack))
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    django.setup()

    from benchmarks import admin, audit, consumer, latency, place_order, relay
    from benchmarks.result import table
    from demo.prepare import prepare

    prepare(token=os.environ["API_TOKEN"], admin_password=None)
    gc.freeze()  # as config/celery.py does for the worker
    modules = {
        "place_order": place_order,
        "relay": relay,
        "consumer": consumer,
        "latency": latency,
        "audit": audit,
        "admin": admin,
    }
    rows = []
    for name in arguments.names or NAMES:
        print(f"bench: {name} …", file=sys.stderr, flush=True)
        rows += modules[name].run(stack)
    print(json.dumps([asdict(row) for row in rows], indent=2) if arguments.format == "json" else table(rows))
    return 0


def _name(text: str) -> str:
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is no benchmark: choose from {', '.join(NAMES)}")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", type=_name, help=f"which of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--format", choices=["text", "json"], default="text")
    return parser


if __name__ == "__main__":
    sys.exit(main())
