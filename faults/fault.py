"""What a fault is: something to inject into a system, and the way back."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from faults.system import NOTHING_HURT, System

Tell = Callable[[str], None]
# Whom to hurt, and why just them, in words.
Choose = Callable[[System], tuple[Sequence[str], str]]


def by_itself(_: System) -> None:
    """Nothing is left to heal."""


@dataclass(frozen=True)
class Fault:
    """One way to hurt a system. `inject` returns a line for people; `heal` may be called at any time.

    `hold` runs it for its `seconds`; with `every` it is injected again and again in that time. Where it only waits for
    something to hurt, `strikes` counts how often that has come.
    """

    name: str
    does: str
    heals: str
    inject: Callable[[System], str]
    heal: Callable[[System], None] = by_itself
    seconds: float = 0.0
    every: float | None = None
    strikes: Callable[[System], int] | None = None
    # The roles before which it needs a proxy.
    proxies: tuple[str, ...] = ()


def pausing(name: str, does: str, heals: str, choose: Choose, *, seconds: float = 20) -> Fault:
    """A fault that stops processes with SIGSTOP and heals them with SIGCONT."""

    def inject(system: System) -> str:
        roles, why = choose(system)
        system.remember(name, roles)
        return "; ".join(system.pause(role) for role in roles) + why

    def heal(system: System) -> None:
        for role in system.take_hurt_by(name):
            system.resume(role)

    return Fault(name, does, heals, inject, heal, seconds)


def stopping(name: str, does: str, heals: str, choose: Choose, *, seconds: float = 60, orderly: bool = False) -> Fault:
    """A fault that ends processes and starts them again when it is healed."""

    def inject(system: System) -> str:
        roles, why = choose(system)
        system.remember(name, roles)
        return "; ".join(system.stop(role, orderly=orderly) for role in roles) + why

    def heal(system: System) -> None:
        for role in system.take_hurt_by(name):
            system.start(role)

    return Fault(name, does, heals, inject, heal, seconds)


def always(*roles: str) -> Choose:
    """Choose these roles."""
    return lambda _: (roles, "")


def available(fault: Fault, system: System) -> bool:
    """Whether the system has the proxies that the fault needs."""
    return all(role in system.proxies for role in fault.proxies)


def hold(fault: Fault, system: System, *, seconds: float | None = None, tell: Tell = print) -> bool:
    """Inject, keep it for some seconds, and heal, whatever happens meanwhile. False when nothing was there to hurt."""
    ends_at = time.monotonic() + (fault.seconds if seconds is None else seconds)
    struck = fault.strikes(system) if fault.strikes else 0
    told = []
    try:
        told.append(fault.inject(system))
        tell(told[-1])
        while (left := ends_at - time.monotonic()) > 0:
            time.sleep(min(left, fault.every or left))
            if fault.every and time.monotonic() < ends_at:
                told.append(fault.inject(system))
                tell(told[-1])
    finally:
        fault.heal(system)
    if fault.strikes:
        return fault.strikes(system) > struck
    return not all(NOTHING_HURT in part for line in told for part in line.split("; "))
