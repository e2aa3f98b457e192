"""`make test-compose`: the system in docker compose, proven with a broker killed, restarted, and proven again.

It needs a Docker engine and nothing else, and leaves nothing behind.
"""

import os
import signal
import sys
import time
from collections.abc import Callable

from tests.compose.engine import Compose, ComposeFailed
from tests.compose.proof import Demo, NotProven

UP_SECONDS = 420
STARTED_AT = time.monotonic()


class Wrong(Exception):
    """Something is not as the compose file promises."""


def main() -> int:
    # An end from outside takes the stack down too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        compose = Compose()
    except ComposeFailed as error:
        _say(str(error))
        return 1
    demo = Demo(compose, int(os.environ.get("ORDERS", "500")), _say)
    steps: list[tuple[str, Callable[[], object]]] = [
        ("remove what an earlier run left behind", compose.remove),
        ("read the compose file without .env", lambda: _configuration(compose)),
        ("build the image", lambda: compose.run("build", timeout=900)),
        ("up --wait", lambda: _up(compose)),
        ("prove, with the leader killed in the middle", lambda: demo.prove(kill_the_leader=True)),
        ("look at the admin's login", lambda: _admin(compose)),
        ("down, and up --wait on the kept volumes", lambda: _restart(compose)),
        ("prove again", lambda: demo.prove(kill_the_leader=False)),
    ]
    try:
        for name, step in steps:
            _step(name, step)
    except (ComposeFailed, NotProven, Wrong) as error:
        _say(f"FAILED: {error}")
        _tell_what_runs(compose)
        return 1
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _step("take it down, with its volumes", compose.remove)
    _say("passed")
    return 0


def _step(name: str, step: Callable[[], object]) -> None:
    _say(f"== {name}")
    started = time.monotonic()
    step()
    _say(f"   {time.monotonic() - started:.0f} s")


def _configuration(compose: Compose) -> None:
    if warnings := compose.warnings("--env-file", os.devnull, "config", "--quiet"):
        raise Wrong(f"docker compose config warns: {warnings}")


def _up(compose: Compose) -> None:
    compose.run("up", "--wait", "--wait-timeout", str(UP_SECONDS), timeout=UP_SECONDS + 60)
    for state in compose.states():
        _say(f"   {state}")
        if not state.well:
            raise Wrong(f"`up --wait` ended well, and this is not: {state}")


def _restart(compose: Compose) -> None:
    compose.run("down", timeout=180)
    _up(compose)


def _admin(compose: Compose) -> None:
    status, page = compose.get("/admin/login/")
    if status != 200 or "Log in" not in page:
        raise Wrong(f"/admin/login/ was answered with {status}: {page[:500]}")
    _say(f"   /admin/login/ {status}, with its form")


def _tell_what_runs(compose: Compose) -> None:
    try:
        states = compose.states()
        unwell = [one.service for one in states if not one.well] or ["web", "worker"]
        for text in (*states, compose.run("logs", "--no-color", "--tail", "40", *unwell)):
            _say(str(text))
    except ComposeFailed as error:
        _say(str(error))


def _say(text: str) -> None:
    sys.stdout.write(f"{time.monotonic() - STARTED_AT:5.0f}  {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
