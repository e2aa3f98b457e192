"""What happens when: drawn from the seed alone, before anything runs."""

from bisect import bisect
from collections.abc import Collection
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from faults import losses, offsets
from faults.arm import actions_at
from faults.points import POINTS, Role, When

CRASH_POINT = "crash-point"

# How often a fault is drawn compared with the others, and for how many seconds it is held. What takes a
# broker's whole start to heal is rare: sixty of them a minute would be an outage, not a fault. Every fault but
# kafka-min-isr-unmet: Kafka 4.3.1 does not survive that min.insync.replicas is changed while a replica is out of sync,
# as one often is here (docs/limits.md).
WEIGHTS: dict[str, tuple[float, float, float]] = {
    CRASH_POINT: (30, 1, 6),
    "program-kill": (8, 0, 0),
    "program-pause": (6, 1, 8),
    "program-clock-wrong": (2, 2, 8),
    "consumer-storm": (4, 2, 6),
    "postgres-terminate-backends": (8, 0, 0),
    "postgres-commit-answer-cut": (5, 1, 4),
    "postgres-line-cut": (1, 0.5, 3),
    "postgres-pause": (1, 0.5, 3),
    "postgres-restart-immediate": (1, 0, 0),
    "postgres-kill": (0.5, 0, 0),
    "postgres-down": (0.5, 2, 6),
    "line-reset": (7, 0, 0),
    "line-cut": (4, 0.5, 4),
    "line-slow": (4, 1, 5),
    "line-trickle": (2, 1, 4),
    "line-requests-lost": (3, 0.5, 4),
    "line-answers-lost": (3, 0.5, 4),
    "produce-answer-cut": (4, 1, 4),
    "offset-commit-answer-cut": (4, 1, 4),
    "redis-flush": (3, 0, 0),
    "redis-kill-clients": (3, 0, 0),
    "redis-kill": (2, 0, 0),
    "redis-pause": (1, 1, 4),
    "redis-down": (1, 2, 6),
    "beat-stop": (1, 1, 6),
    "beat-pause": (1, 1, 6),
    "beat-twice": (1, 2, 6),
    "kafka-kill-leader": (1.5, 0, 0),
    "kafka-pause-leader": (1.5, 1, 6),
    "kafka-pause-follower": (1, 1, 8),
    "kafka-pause-controller": (1, 1, 6),
    "kafka-kill-controller": (1, 0, 0),
    "kafka-hard-bounce": (0.3, 11, 25),
    "kafka-kill-all": (0.3, 0, 0),
    "kafka-two-down": (0.3, 4, 8),
    "offsets-to-start": (0.7, 0, 0),
    "offsets-to-end": (0.7, 0, 0),
    "offsets-deleted": (0.5, 0, 0),
    "lose-records": (0.5, 0, 0),
    "lose-by-retention": (0.3, 0, 0),
    "lose-topic": (0.3, 0, 0),
    "lose-tail-of-one": (0.25, 0, 0),
    "lose-tail-of-two": (0.25, 0, 0),
    "lose-tail-of-all": (0.25, 0, 0),
    "lose-by-unclean-election": (0.25, 0, 0),
}
# After these Kafka may have lost what it acknowledged, or a group has passed what it had not read. They change
# a topic's settings, or make it again with those that it has: one at a time.
LOSING = frozenset(fault.name for fault in (*losses.FAULTS, *offsets.FAULTS))


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault to inject `at` seconds after the start and to heal `hold` seconds later.

    `seed` decides whom it hurts; `role` and `point` are those of a crash point.
    """

    at: float
    name: str
    hold: float
    seed: int
    role: str = ""
    point: str = ""


def draw(*, seed: int, seconds: float, per_minute: float, only: Collection[str] = ()) -> list[Planned]:
    """The faults of a run, in their order; of these kinds only, where any are named."""
    chance = Random(seed)  # noqa: S311 - a schedule, no secret
    count = round(seconds * per_minute / 60)
    moments = sorted(chance.uniform(0, seconds) for _ in range(count))
    return [_planned(chance, at, name) for at, name in zip(moments, _names(chance, count, only), strict=True)]


def _names(chance: Random, count: int, only: Collection[str]) -> list[str]:
    """So many names by their weight, shuffled.

    Drawn one by one, a rare fault may be missing from a long run. Here each comes as often as its share of
    `count` says, rounded up or down by chance: once at least, where the share is one (`make chaos` as it is).
    """
    kinds = [name for name in WEIGHTS if not only or name in only]
    names = chance.sample(kinds, len(kinds))
    reached = list(accumulate(WEIGHTS[name][0] for name in names))
    step, first = reached[-1] / max(count, 1), chance.random()
    drawn = [names[bisect(reached, (first + n) * step)] for n in range(count)]
    return chance.sample(drawn, count)


def _planned(chance: Random, at: float, name: str) -> Planned:
    _, shortest, longest = WEIGHTS[name]
    hold, seed = round(chance.uniform(shortest, longest), 2), chance.getrandbits(32)
    role, point = _draw_point(chance) if name == CRASH_POINT else ("", "")
    return Planned(round(at, 2), name, hold, seed, role, point)


def _draw_point(chance: Random) -> tuple[str, str]:
    seams = [
        (role, point.name, when) for point in POINTS for role in point.roles for when in point.whens if not point.rare
    ]
    role, name, when = chance.choice(seams)
    action = "raise" if when == When.LOST else chance.choice(actions_at(name))
    # Celery's worker runs the relay and the audit here, as in production.
    runs_in_worker = role in (Role.RELAY, Role.OPERATOR)
    nth = chance.randint(1, 3)
    if role == Role.OPERATOR:
        nth = 1  # the audit passes it once in a while only: a third time may not come while this waits
    return ("worker" if runs_in_worker else str(role)), f"{name}:{when}:{action}:{nth}"
