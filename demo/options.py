"""What `make demo` can be told: read before anything starts, and handed on to what drives the orders."""

import argparse
import math


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `demo run` and of `demo.drive`."""
    parser.add_argument("--orders", type=count, default=500, help="orders to place (default 500)")
    parser.add_argument("--clients", type=count, default=8, help="clients at the same time (default 8)")
    parser.add_argument("--deadline", type=positive, default=90, help="seconds until all must be final (default 90)")
    parser.add_argument("--seed", type=int, default=1, help="the load's random seed (default 1)")
    parser.add_argument("--no-faults", action="store_true", help="kill nothing")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="the proof's format")


def as_arguments(options: argparse.Namespace) -> list[str]:
    """The same options as words of a command line."""
    names = ("orders", "clients", "deadline", "seed", "format")
    words = [f"--{name}={getattr(options, name)}" for name in names]
    return [*words, "--no-faults"] if options.no_faults else words


def count(text: str) -> int:
    """The type of an option that says how many."""
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of 1 or more")
    return int(text)


def positive(text: str) -> float:
    """The type of an option that says how long or how often."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number
