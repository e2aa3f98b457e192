"""Faults of the application's own processes, their clocks, and the membership of the consumers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from faults.fault import Fault, pausing
from faults.system import FaultRefused, System

CONSUMERS = ("consume-inventory", "consume-orders")
STORM = "consumer-storm"
CLOCK = "program-clock-wrong"
HOUR = 3600
_EXTRA = 2  # more members of each group


def _some_program(system: System) -> str:
    if not system.programs:
        raise FaultRefused("none of the application's programs runs here: start it with `make up`")
    return system.random.choice(sorted(program.role for program in system.programs))


def _kill(system: System) -> str:
    return system.kill(_some_program(system))


def _one(system: System) -> tuple[Sequence[str], str]:
    return [_some_program(system)], ""


def wrong_clock(env: Mapping[str, str], seconds: int) -> dict[str, str]:
    """The environment of a program, with a clock that is wrong by so much."""
    settings = env.get("DJANGO_SETTINGS_MODULE", "config.settings")
    return {
        **env,
        "DJANGO_SETTINGS_MODULE": "faults.wrong_clock",
        "CLOCK_SETTINGS": settings,
        "CLOCK_OFFSET_SECONDS": str(seconds),
    }


def _set_clock(system: System) -> str:
    program, seconds = system.program(_some_program(system)), system.random.choice([HOUR, -HOUR])
    system.remember(CLOCK, [program.role])
    return system.run(replace(program, env=wrong_clock(program.env, seconds)), f"with a clock {seconds:+} s off")


def _set_clock_right(system: System) -> None:
    for role in system.take_hurt_by(CLOCK):
        system.run(system.program(role), "with the right clock")


def _storm(system: System) -> str:
    """One change of membership: a member joins, leaves, dies, stands still or wakes up."""
    role = system.random.choice(_extra_members(system))
    number = system.random.random()
    state = next((process.state for process in system.stack.processes() if process.role == role), "absent")
    system.remember(STORM, [role])
    if state == "paused":
        return system.resume(role)
    if state != "running":
        original = system.program(role.rpartition("-")[0])
        system.stack.add([replace(original, role=role, port=None)])
        return f"{role} joins"
    if number < 1 / 3:
        return system.pause(role)
    if number < 2 / 3:
        return system.kill(role)
    return system.stop(role, orderly=True)


def _extra_members(system: System) -> Sequence[str]:
    consumers = [program.role for program in system.programs if program.role in CONSUMERS]
    if not consumers:
        raise FaultRefused("no consumer runs here: start it with `make up`")
    return [f"{role}-{number}" for role in consumers for number in range(2, 2 + _EXTRA)]


def _calm(system: System) -> None:
    for role in sorted(set(system.take_hurt_by(STORM))):
        # In the orderly way: one that vanished would hold its partitions until its session ends.
        system.stop(role, orderly=True)


FAULTS = [
    Fault("program-kill", "SIGKILL to one of the application's processes.", "the supervisor starts it again", _kill),
    pausing("program-pause", "SIGSTOP to one of the application's processes.", "SIGCONT", _one, seconds=15),
    Fault(
        CLOCK,
        "One of the application's processes runs with a clock that is an hour fast, or slow.",
        "it is started again with the right one",
        _set_clock,
        _set_clock_right,
        seconds=20,
    ),
    Fault(
        STORM,
        "More members of the consumer groups join, leave, die and stand still, every 2 seconds.",
        "the additional members leave",
        _storm,
        _calm,
        seconds=20,
        every=2,
    ),
]
