"""What a planted bug is: what careful people have really shipped, put into the running product from outside.

A bug replaces a function or a setting of the product for one test. Where other defences of the product
would save the message, the bug takes those away too, and says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from messaging.consume import inbox, key_order
from messaging.consume.delivery import Delivery
from messaging.consume.inbox import Taken
from messaging.consume.key_order import Admitted
from tests.planted.stage import Scenario

Patch = pytest.MonkeyPatch


@dataclass(frozen=True, slots=True)
class Bug:
    """`scenario` lets it bite; `caught_by` are the invariants that must then not hold."""

    name: str
    does: str
    saved_by: str
    scenario: Scenario
    caught_by: frozenset[str]
    plant: Callable[[Patch], None]


def declare(
    bugs: list[Bug], *, saved_by: str, scenario: Scenario, caught_by: str
) -> Callable[[Callable[[Patch], None]], None]:
    """Add the function to a room's bugs; its name is the bug's, its docstring says what the bug does."""

    def add(plant: Callable[[Patch], None]) -> None:
        does = " ".join(str(plant.__doc__).split()).removesuffix(".")
        name = plant.__name__.replace("_", " ")
        bugs.append(Bug(name, does, saved_by, scenario, frozenset(caught_by.split()), plant))

    return add


def plant_no_inbox(patch: Patch) -> None:
    take = inbox.take

    def all_new(consumer: str, deliveries: Sequence[Delivery]) -> Taken:
        take(consumer, deliveries)
        return Taken(list(deliveries), [])

    patch.setattr(inbox, "take", all_new)


def plant_no_order_of_keys(patch: Patch) -> None:
    def all_ready(consumer: str, deliveries: Sequence[Delivery]) -> Admitted:
        key_order._lock_positions(consumer, {d.envelope.stream for d in deliveries})
        return Admitted(list(deliveries), [])

    patch.setattr(key_order, "admit", all_ready)
