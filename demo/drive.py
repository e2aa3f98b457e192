"""Drive a system that runs: load, faults in the middle, wait, proof.

Settings come from the environment: those of the application, API_URL and API_TOKEN. With
DEVSERVICES_FOLDER it also starts the application's processes there, and kills three of them. Without
(in docker compose) it kills nothing: `make test-compose` does that from outside.
"""

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import django
import httpx
from tqdm import tqdm

from demo.load import Load, LoadFailed, Sent
from demo.options import add_options

if TYPE_CHECKING:
    from demo.faults import Comeback
    from demo.proof import Proof
    from devservices import Stack

READY_SECONDS = 90.0


def main() -> int:
    """Exit status 0 only if the proof holds and what was killed came back."""
    arguments = _parser().parse_args()
    stack, env_of_programs = _attach() if "DEVSERVICES_FOLDER" in os.environ else (None, {})
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ.setdefault("LOG_LEVEL", "ERROR")
    django.setup()

    from config.env import env
    from demo import faults, prepare, proof
    from messaging.store.kafka import admin_client

    token = env.str("API_TOKEN", default="") or secrets.token_urlsafe(32)
    prepare.prepare(token=token, admin_password=env.str("ADMIN_PASSWORD", default=""))
    _say("tables, topics, stock and credentials are made")
    if stack:
        _start_application(stack, env_of_programs)
    admin = admin_client()
    _wait_until_ready(os.environ["API_URL"], lambda: proof.flow_is_ready(admin))
    since = proof.database_now()

    killed: list[int] = []  # how many orders were answered before the kills, and when they were done
    comebacks: list[Comeback] = []

    def at_half(sent: Sent) -> None:
        if stack and not arguments.no_faults:
            killed.append(len(sent.order_ids))
            leader = faults.kill_three(admin, stack, _say)
            killed.append(len(sent.order_ids))
            comebacks.append(faults.Comeback(stack, leader, _say))

    load = Load(os.environ["API_URL"], token, arguments.orders, arguments.clients, 60, arguments.seed)
    started = time.monotonic()
    try:
        sent = load.run(at_half=at_half)
    except LoadFailed as error:
        _say(f"the load failed: {error}")
        return 1
    _say(
        f"{len(sent.order_ids)} orders answered with 201 in {time.monotonic() - started:.1f} s; "
        f"{sent.repeated} POSTs repeated, {sent.greedy} asked for too much, {sent.cancelled} cancelled, "
        f"{sent.retried} tried again"
    )
    failures: list[str] = []
    if killed:
        _say(f"the kills came after {killed[0]} to {killed[-1]} of {arguments.orders} orders were answered")
    final = proof.wait_until_final(since=since, seconds=arguments.deadline, progress=_Countdown())
    if not final:
        failures.append(f"after {arguments.deadline:.0f} s something is still not final")
    if stack:
        failures += _not_back(stack, comebacks)
    result = proof.prove(answered=sent.order_ids, since=since)
    for failure in failures:
        _say(f"failed: {failure}")
    holds = result.holds and not failures
    if arguments.format == "json":
        print(json.dumps(result.as_json() | {"holds": holds, "failures": failures}, indent=2))
    else:
        _print_proof(result, holds=holds, killed=bool(killed))
    return 0 if holds else 1


def _not_back(stack: "Stack", comebacks: "Sequence[Comeback]") -> list[str]:
    """What was killed and did not come back, in a sentence each."""
    from demo import faults

    failures = [failure for comeback in comebacks if (failure := comeback.failure())]
    try:
        faults.wait_until_all_run(stack)
    except TimeoutError as error:
        failures.append(str(error))
    return failures


def _attach() -> tuple["Stack", dict[str, str]]:
    """The stack that runs, and the application's settings, which are put into our environment too."""
    from demo import system
    from devservices import Stack

    stack = Stack(Path(os.environ["DEVSERVICES_FOLDER"]))
    env = system.settings(stack)
    os.environ.update(env)
    _say("PostgreSQL, three Kafka brokers and Redis are up")
    return stack, env


def _start_application(stack: "Stack", env: dict[str, str]) -> None:
    """Only now that tables and topics are there: before, each process would refuse to start, again and again."""
    from demo import system

    _say("starting web, beat, worker and two consumers")
    stack.add(system.programs(stack, env))


def _wait_until_ready(api_url: str, flow_is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not (_answers(f"{api_url}/readyz") and flow_is_ready()):
        if time.monotonic() > deadline:
            sys.exit(f"demo: {api_url}, relay and consumers are not ready after {READY_SECONDS:.0f} s; see the logs")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


class _Countdown:
    """Say how many orders and messages are still on their way, every few seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, waiting: int) -> None:
        if time.monotonic() - self._last > 3:
            self._last = time.monotonic()
            _say(f"waiting for {waiting} orders and messages to be final")


def _print_proof(result: "Proof", *, holds: bool, killed: bool) -> None:
    report = result.report
    for sentence, adds_up in result.sums():
        print(f"{'ok ' if adds_up else 'NOT'}  {sentence}")
    print(f"     redeliveries absorbed: {report['redelivered']}")
    p50, p99 = result.latency_ms
    print(f"     accepted to decided{', with the kills' if killed else ''}: p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    for name, ids in (report["ids"] | report["log_ids"]).items():
        for entry in ids:
            print(f"{name}: {entry}")
    for order_id in result.unknown_ids:
        print(f"answered with 201, not in the database: {order_id}")
    for message_id in result.waiting_ids:
        print(f"waits: {message_id}")
    # The last line says "lost 0, extra 0, stuck 0" only where all else holds too.
    verdict = "" if holds or report["lost"] or report["extra"] or result.stuck else "NOT PROVEN: "
    print(f"{verdict}lost {report['lost'] + len(result.unknown_ids)}, extra {report['extra']}, stuck {result.stuck}")


def _say(text: str) -> None:
    tqdm.write(f"demo: {text}", file=sys.stderr)  # above the progress bar, where there is one
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo.drive", description=__doc__)
    add_options(parser)
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        _say("interrupted; everything is being stopped")
        sys.exit(130)
