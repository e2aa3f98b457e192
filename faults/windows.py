"""Every failure window: the time between two steps of which the first has happened.

`python -m faults.windows` writes docs/failure-windows.md from windows.toml and from the seams of `points`;
with `--check` it only compares.
"""

import argparse
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from faults.points import POINTS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "failure-windows.md"
_CRASH_TESTS = ("faults/test_crash_points.py", "faults/test_operator_commands.py")


@dataclass(frozen=True, slots=True)
class Window:
    """One row of the table. `tests` are named as pytest names them, below tests/."""

    id: str
    room: str
    what: str
    happens: str
    saves: str
    tests: tuple[str, ...]


def windows() -> list[Window]:
    """All windows, in their order."""
    rows = tomllib.loads((ROOT / "faults" / "windows.toml").read_text())["window"]
    return [Window(**row | {"tests": tuple(row["tests"])}) for row in rows]


def document() -> str:
    """docs/failure-windows.md."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Failure windows"
    yield ""
    yield "A window is the time between two steps of which the first has happened. In each a process, a connection or a"
    yield "broker can end. This page is written by `python -m faults.windows`; CI compares."
    yield ""
    yield "A *seam* is a function of the product at the edge of the window. These strike at each of them once with each"
    yield "action that makes sense there (an exception, SIGTERM, SIGKILL, SIGSTOP for longer than lease and session,"
    yield "the database backend terminated, an answer that is lost after the server acted):"
    yield ", ".join(f"[`{test}`](../tests/{test})" for test in _CRASH_TESTS) + "."
    yield "While an operator's command stands still, a second one is run beside it."
    for room, rows in groupby(windows(), key=lambda window: window.room):
        yield ""
        yield f"## {room}"
        yield "| window | what happens | what saves it | seams | test |"
        yield "|---|---|---|---|---|"
        for window in rows:
            seams = ", ".join(
                f"`{point.name}` {'/'.join(point.whens)}" for point in POINTS if point.window == window.id
            )
            tests = ", ".join(f"[`{test}`](../tests/{test.partition('::')[0]})" for test in window.tests)
            yield f"| {window.id} {window.what} | {window.happens} | {window.saves} | {seams} | {tests} |"


def main() -> int:
    """Exit status 1 while the document is out of date."""
    parser = argparse.ArgumentParser(prog="python -m faults.windows", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the document is out of date")
    if parser.parse_args().check:
        if DOCUMENT.read_text() != document():
            print("docs/failure-windows.md is out of date: run `python -m faults.windows` and commit the result")
            return 1
        return 0
    DOCUMENT.write_text(document())
    return 0


if __name__ == "__main__":
    sys.exit(main())
