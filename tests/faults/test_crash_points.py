"""Every seam of the product, hit once with each action, while orders flow: lost 0, extra 0, stuck 0.

One round hits one seam in each process, because a killed consumer holds its partitions for its session's
6 s, and forty of these one after the other would be a coffee break. What a dead letter or a cancellation
passes is hit again, with nothing else in anybody's hand.
"""

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import zip_longest
from uuid import uuid4

import psutil
import pytest
from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from faults.arm import ACTIONS, actions_at
from faults.checker import Place
from faults.load import Client
from faults.offsets import READERS
from faults.points import POINTS, Role, When
from faults.shop import Shop, wait_for
from messaging.models import DeadLetter, OutboxMessage, OutboxPending, ProcessedMessage
from messaging.produce.outbox import append
from tests.faults.drained import check_now, drains_in_a_moment
from tests.flow_tools import produce_raw
from tests.produce.test_outbox import Note

pytestmark = pytest.mark.faults

# Longer than a relay's lease (5 s) and a consumer's session (6 s): another could have taken over. A batch that outlasts
# the poll interval (5 min) is in test_without_a_death.py, `TestABatchThatTakesTooLong`.
STOPPED_SECONDS = 7.5
FLOWING = (Role.WEB, Role.RELAY, Role.INVENTORY, Role.ORDERS)

Round = dict[Role, str]  # each role's seam: `name:when`


def seams(role: Role, action: str) -> list[str]:
    """Where this action makes sense in this role. An answer is lost where an error is raised for it."""
    return [
        f"{point.name}:{when}"
        for point in POINTS
        if role in point.roles and action in actions_at(point.name)
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
        broken: list[Place] = []
        refused: list[OutboxMessage] = []
        redelivered_before = redeliveries()
        with ExitStack() as members, waking_up(shop) as woken:
            if action == "stop":
                # Somebody who takes over what the one that stands still had in hand, before it wakes up.
                for role, seam in seams_of_round.items():
                    if role != Role.WEB and not seam.startswith("consume.revoke"):
                        members.enter_context(second_process(shop, role))
            # Against the stream: whoever was struck leaves those behind it without work.
            for role, seam in reversed(seams_of_round.items()):
                shop.arm(role, [f"{seam}:{action}"])
                if seam.startswith("consume.bury"):
                    topic = READERS[role.removeprefix("consume-")]
                    broken.append((topic, *produce_raw(topic, key=b"k", value=b"not a message of ours")))
                if seam.startswith("relay.park"):
                    refused.append(append_one_that_kafka_refuses())
                if seam.startswith("consume.revoke"):
                    members.enter_context(second_process(shop, role))
                strikes_soon(shop, client, f"{role} {seam}:{action}:1")
        if action == "stop":
            assert woken == set(seams_of_round)
        for message in refused:
            given_up(message)

        nothing_is_wrong(client, broken)
        if action == "kill" and "consume.offsets:before" in seams_of_round.values():
            # Committed, and Kafka was not told: it brought the batch again, and that had no effect.
            assert redeliveries() > redelivered_before


CONSUMERS = (Role.INVENTORY, Role.ORDERS)
OF_A_DEAD_LETTER = [
    (seam, action)
    for action in actions_at("consume.commit")
    for seam in ("consume.commit:before", "consume.commit:after", "consume.offsets:before")
] + [("consume.commit:lost", "raise")]


@pytest.mark.parametrize(("seam", "action"), OF_A_DEAD_LETTER)
class TestADeadLetter:
    """… and no other message is in its consumer's hand: the seams that it passes are its own."""

    def test_is_kept_once_wherever_its_consumer_ends(self, shop: Shop, client: Client, seam: str, action: str) -> None:
        shop.disarm()
        wait_for(drains_in_a_moment, seconds=60, what="nothing is in anybody's hand")
        broken: list[Place] = []
        with waking_up(shop) as woken:
            for role in CONSUMERS:
                shop.arm(role, [f"{seam}:{action}"])
                topic = READERS[role.removeprefix("consume-")]
                broken.append((topic, *produce_raw(topic, key=b"k", value=b"not a message of ours")))
            wanted = {f"{role} {seam}:{action}:1" for role in CONSUMERS}
            wait_for(lambda: wanted <= shop.struck(), seconds=60, what=f"they strike: {wanted}")
        if action == "stop":
            assert woken == set(CONSUMERS)

        wait_for(lambda: DeadLetter.objects.filter(resolved_at=None).count() >= 2, seconds=60, what="they are kept")
        nothing_is_wrong(client, broken)


OF_A_CANCELLATION: list[Round] = [
    {Role.WEB: "api.message:before", Role.INVENTORY: "consume.stock:before", Role.ORDERS: "consume.status:before"},
    {Role.WEB: "api.message:after", Role.INVENTORY: "consume.stock:after", Role.ORDERS: "consume.status:after"},
    {Role.WEB: "api.commit:before", Role.INVENTORY: "consume.reply:before"},
    {Role.WEB: "api.commit:after", Role.INVENTORY: "consume.reply:after"},
]


@pytest.mark.parametrize("action", actions_at("consume.commit"))
@pytest.mark.parametrize("seams_of_round", OF_A_CANCELLATION, ids=lambda one: "+".join(one.values()))
class TestACancellation:
    """… of an order that is decided already, and nothing else flows: release, not reserve, is what is struck."""

    def test_may_be_ended_anywhere_and_the_stock_comes_back_once(
        self, shop: Shop, client: Client, action: str, seams_of_round: Round
    ) -> None:
        shop.disarm()
        # So many that some are the struck consumer's, also where another has taken a part of the partitions.
        orders = [client.place({"SKU-0001": 1}) or "" for _ in range(20)]
        client.seen.affordable.update(orders)
        wait_for(drains_in_a_moment, seconds=60, what="the orders are confirmed")
        with ExitStack() as members, waking_up(shop) as woken:
            for role, seam in seams_of_round.items():
                if action == "stop" and role != Role.WEB:
                    members.enter_context(second_process(shop, role))
                shop.arm(role, [f"{seam}:{action}"])
            wanted = {f"{role} {seam}:{action}:1" for role, seam in seams_of_round.items()}
            for order_id in orders:
                client.cancel(order_id)
            wait_for(lambda: wanted <= shop.struck(), seconds=60, what=f"they strike: {wanted}")
        if action == "stop":
            assert woken == set(seams_of_round)

        assert client.seen.cancelled.issuperset(orders)
        nothing_is_wrong(client)


def nothing_is_wrong(client: Client, broken: Sequence[Place] = ()) -> None:
    """Wait until all is drained, and let the checker look. `broken` are records that must have become dead letters."""
    wait_for(drains_in_a_moment, seconds=60, what="all is drained")
    verdict = check_now(
        accepted=client.seen.accepted.keys(),
        asked=client.seen.accepted,
        cancelled=client.seen.cancelled,
        affordable=client.seen.affordable,
        keys=client.seen.keys,
        broken=broken,
        groups_at_the_end=True,
    )
    assert not verdict.violations, verdict.histories
    # They were looked at: the next round is to see its own alone.
    DeadLetter.objects.update(resolved_at=timezone.now())


def append_one_that_kafka_refuses() -> OutboxMessage:
    """It is made too large past the check at write time, as an operator's hand could."""
    with transaction.atomic():
        message_id = append(Note(text="x"), partition_key=str(uuid4()), sequence=1)
        OutboxMessage.objects.filter(message_id=message_id).update(payload="x" * 1_100_000)
    return OutboxMessage.objects.get(message_id=message_id)


def given_up(message: OutboxMessage) -> None:
    """It is parked, and only it; then it goes, for no order wrote it."""
    wait_for(lambda: OutboxPending.objects.exclude(parked_at=None).exists(), seconds=60, what="it is parked")
    assert OutboxPending.objects.exclude(parked_at=None).get().message == message
    OutboxPending.objects.filter(message=message).delete()
    message.delete()


def redeliveries() -> int:
    """How many messages came again and were absorbed."""
    return ProcessedMessage.objects.aggregate(total=Sum("redeliveries", default=0))["total"]


@contextmanager
def second_process(shop: Shop, role: Role) -> Iterator[None]:
    """Another relay, or another member of the consumer group, takes a part of the first one's work. It is not armed."""
    (first,) = (program for program in shop.programs() if program.role == role)
    unarmed = {name: value for name, value in (first.env or {}).items() if name != "FAULT_FILE"}
    second = replace(first, role=f"{role}-2", env=unarmed)
    shop.stack.add([second])
    yield
    # In the orderly way: one that vanished would hold its partitions until its session ends.
    shop.stack.stop(second.role, signal.SIGTERM)


@contextmanager
def waking_up(shop: Shop) -> Iterator[set[Role]]:
    """Let each process that stopped at its seam go on when its own STOPPED_SECONDS are over; at the end all do.

    Gives the roles that were found stopped when their time was over.
    """
    struck_at: dict[str, float] = {}
    woken: set[Role] = set()
    left = threading.Event()

    def wake_up() -> None:
        waiting = True
        while waiting or not left.is_set():
            time.sleep(0.1)
            for fault in shop.struck():
                struck_at.setdefault(fault, time.monotonic())
            waiting = False
            for fault, at in struck_at.items():
                role = Role(fault.partition(" ")[0])
                if ":stop:" not in fault or role in woken:
                    continue
                if time.monotonic() - at < STOPPED_SECONDS:
                    waiting = True
                elif is_stopped(shop, role):
                    woken.add(role)
                    shop.stack.resume(role)

    # Beside the client: while the web process is stopped, nobody gets an answer.
    waker = threading.Thread(target=wake_up)
    waker.start()
    try:
        yield woken
    finally:
        left.set()
        waker.join()


def is_stopped(shop: Shop, role: Role) -> bool:
    """Whether a process of this role stands still: web's is a child of its master."""
    (pid,) = (process.pid for process in shop.stack.processes() if process.role == role)
    first = psutil.Process(pid)
    return any(one.status() == psutil.STATUS_STOPPED for one in (first, *first.children(recursive=True)))


def strikes_soon(shop: Shop, client: Client, fault: str) -> None:
    """Keep orders flowing until the fault has struck."""
    wait_for(lambda: place_one(client) and fault in shop.struck(), seconds=60, what=f"it strikes: {fault}")


def place_one(client: Client) -> bool:
    """An order that is cancelled again, and one that must be rejected, so that every seam is passed by each."""
    order_id = client.place({"SKU-0001": 1})
    assert order_id
    client.seen.affordable.add(order_id)
    client.cancel(order_id)
    assert client.place({"SKU-NOBODY-HAS": 1})
    return True
