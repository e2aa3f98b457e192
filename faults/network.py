"""Faults of the lines between clients and servers. They need a proxy before the server."""

import math
import re
from collections.abc import Callable
from functools import partial

from devservices import BROKERS, Stack
from faults.fault import Fault
from faults.line import Line
from faults.proxy import COMMIT, OFFSET_COMMIT_REQUEST, PRODUCE_REQUEST, Proxy
from faults.system import System

POSTGRES = "postgres"
Spoil = Callable[[Proxy], Line]


def broker_proxies(stack: Stack) -> dict[str, Proxy]:
    """A proxy before each broker of a stack that was brought up with `proxied`. Close them when they are done."""
    return {role: Proxy(listener.port, port=listener.proxy_port) for role, listener in stack.proxied_brokers().items()}


def _spoil_broker(name: str, spoil: Spoil, system: System) -> str:
    role = system.random.choice(BROKERS)
    system.lines.append(spoil(system.proxy(role)))
    system.remember(name, [role])
    return f"{name}: {role}"


def _spoil_all(name: str, roles: tuple[str, ...], spoil: Spoil, system: System) -> str:
    for role in roles:
        system.lines.append(spoil(system.proxy(role)))
    system.remember(name, roles)
    return f"{name}: {', '.join(roles)}"


def _restore(name: str, system: System) -> None:
    for role in set(system.take_hurt_by(name)):
        system.proxy(role).restore()


def _fault(name: str, does: str, inject: Callable[[System], str], roles: tuple[str, ...], seconds: float) -> Fault:
    heal = partial(_restore, name)
    return Fault(name, does, "everything passes again", inject, heal, seconds, strikes=_hits, proxies=roles)


def _hits(system: System) -> int:
    return sum(line.hits for line in system.lines)


def _of_one_broker(name: str, does: str, spoil: Spoil, *, seconds: float = 20) -> Fault:
    return _fault(name, does, partial(_spoil_broker, name, spoil), BROKERS, seconds)


def _of_all(name: str, does: str, roles: tuple[str, ...], spoil: Spoil, *, seconds: float = 20) -> Fault:
    return _fault(name, does, partial(_spoil_all, name, roles, spoil), roles, seconds)


def _of_answers(
    name: str, does: str, roles: tuple[str, ...], request: re.Pattern[bytes], *, times: float = math.inf
) -> Fault:
    """Lines to all of them are cut between such a request and its answer: where none passes, nothing happens."""
    return _of_all(name, does, roles, lambda proxy: proxy.cut_after(request, times=times), seconds=5)


FAULTS = [
    _of_one_broker("line-cut", "A broker's clients are cut off and refused.", Proxy.cut),
    _of_one_broker("line-reset", "Every connection to a broker is reset.", Proxy.reset, seconds=0),
    _of_one_broker("line-slow", "Half a second of delay each way.", lambda p: p.slow(delay=0.5)),
    _of_one_broker("line-trickle", "2,000 bytes a second each way.", lambda p: p.slow(bytes_per_second=2000)),
    _of_one_broker("line-requests-lost", "What clients say to a broker vanishes.", lambda p: p.drop(requests=True)),
    _of_one_broker("line-answers-lost", "What a broker answers vanishes.", lambda p: p.drop(answers=True)),
    _of_answers(
        "produce-answer-cut",
        "The line to each broker is cut between a produce request and its answer.",
        BROKERS,
        PRODUCE_REQUEST,
    ),
    _of_answers(
        "offset-commit-answer-cut",
        "The line to each broker is cut between an offset commit and its answer.",
        BROKERS,
        OFFSET_COMMIT_REQUEST,
    ),
    _of_all("postgres-line-cut", "PostgreSQL's clients are cut off and refused.", (POSTGRES,), Proxy.cut),
    _of_answers(
        "postgres-commit-answer-cut",
        "Ten times, the line is cut between a COMMIT and its answer.",
        (POSTGRES,),
        COMMIT,
        times=10,
    ),
]
