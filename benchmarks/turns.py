"""Contestants take turns: what warms up brokers and caches, or slows the machine down, meets each of them."""

import statistics
from collections.abc import Callable, Mapping

TURNS = 3


def take_turns(contestants: Mapping[str, Callable[[], float]]) -> dict[str, float]:
    """The median of each one's figures. In every turn each runs once, and another one is the first."""
    names = list(contestants)
    figures: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(TURNS):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            figures[name].append(contestants[name]())
    return {name: statistics.median(found) for name, found in figures.items()}
