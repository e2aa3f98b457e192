"""Every seam of the product, hit once with each action, while orders flow: lost 0, extra 0, stuck 0.

One round hits one seam in each process at a time, because a killed consumer holds its partitions for
its session's 6 s, and forty of these one after the other would be a coffee break.
"""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import zip_longest

import pytest
from django.utils import timezone

from faults.load import Client
from faults.offsets import READERS
from faults.points import POINTS, Role, When
from faults.shop import Shop, wait_for
from messaging.models import DeadLetter
from tests.faults.drained import check_now, drains_in_a_moment
from tests.flow_tools import produce_raw

pytestmark = pytest.mark.faults

# Longer than a relay's lease (5 s) and a consumer's session (6 s): another could have taken over.
STOPPED_SECONDS = 7.5
FLOWING = (Role.WEB, Role.RELAY, Role.INVENTORY, Role.ORDERS)
ACTIONS = ("raise", "term", "kill", "stop", "disconnect")

Round = dict[Role, str]  # each role's seam: `name:when`


def seams(role: Role, action: str) -> list[str]:
    """Where this action makes sense in this role. An answer is lost where an error is raised for it."""
    return [
        f"{point.name}:{when}"
        for point in POINTS
        if role in point.roles
        for when in point.whens
        if when != When.LOST or action == "raise"
    ]


def rounds() -> Iterator[tuple[str, Round]]:
    for action in ACTIONS:
        for seams_of_round in zip_longest(*(seams(role, action) for role in FLOWING)):
            yield action, {role: seam for role, seam in zip(FLOWING, seams_of_round, strict=True) if seam}


@pytest.mark.parametrize(
    ("action", "seams_of_round"), list(rounds()), ids=lambda v: v if isinstance(v, str) else "+".join(v.values())
)
class TestAProcess:
    def test_may_end_anywhere_and_nothing_is_lost(
        self, shop: Shop, client: Client, action: str, seams_of_round: Round
    ) -> None:
        shop.disarm()
        for role, seam in seams_of_round.items():
            shop.arm(role, [f"{seam}:{action}"])
        armed = {f"{role} {seam}:{action}:1" for role, seam in seams_of_round.items()}

        broken = [role for role, seam in seams_of_round.items() if seam.startswith("consume.bury")]
        revoked = [role for role, seam in seams_of_round.items() if seam.startswith("consume.revoke")]
        for role in broken:
            produce_raw(READERS[role.removeprefix("consume-")], key=b"k", value=b"not a message of ours")
        with more_members(shop, revoked):
            place_until(shop, client, armed, action)
        wait_for(drains_in_a_moment, seconds=60, what="all is drained")

        verdict = check_now(accepted=client.seen.accepted.keys(), keys=client.seen.keys, expected_dead=len(broken))
        assert not verdict.violations, verdict.histories
        # They were looked at: the next round is to see its own alone.
        DeadLetter.objects.update(resolved_at=timezone.now())


@contextmanager
def more_members(shop: Shop, roles: Sequence[Role]) -> Iterator[None]:
    """A second member joins the groups of these roles, and takes partitions away from the first."""
    more = [replace(program, role=f"{program.role}-2") for program in shop.programs() if program.role in roles]
    shop.stack.add(more)
    yield
    for program in more:
        # In the orderly way: one that vanished would hold its partitions until its session ends.
        shop.stack.stop(program.role, signal.SIGTERM)


def place_until(shop: Shop, client: Client, armed: set[str], action: str) -> None:
    """Keep orders flowing until every fault has struck; wake up what was stopped when its lease is over."""
    stopped_at: dict[str, float] = {}
    done = threading.Event()

    def wake_up() -> None:
        while not done.wait(0.1):
            for fault in shop.struck():
                stopped_at.setdefault(fault, time.monotonic())
            if any(time.monotonic() - at > STOPPED_SECONDS for at in stopped_at.values()):
                for role in FLOWING:
                    shop.stack.resume(role)

    # Beside the client: while the web process is stopped, nobody gets an answer.
    waker = threading.Thread(target=wake_up)
    if action == "stop":
        waker.start()
    try:
        wait_for(lambda: place_one(client) and shop.struck() >= armed, seconds=60, what=f"these strike: {armed}")
        if action == "stop":
            wait_for(
                lambda: (
                    stopped_at.keys() >= armed
                    and min(time.monotonic() - at for at in stopped_at.values()) > STOPPED_SECONDS + 0.5
                ),
                seconds=30,
                what="all that were stopped go on",
            )
    finally:
        done.set()
        if action == "stop":
            waker.join()


def place_one(client: Client) -> bool:
    """An order that is cancelled again, so that every seam is passed."""
    order_id = client.place([{"sku": "SKU-0001", "quantity": 1}])
    assert order_id
    client.cancel(order_id)
    return True
