"""Move a consumer group, or delete it: its offsets are all that it knows."""

from collections.abc import Callable
from functools import partial

from confluent_kafka import Consumer, KafkaException, TopicPartition

from devservices.waiting import wait_until
from faults.fault import Fault
from faults.kafka_admin import SECONDS, bounds, result_of
from faults.system import System

READERS = {"inventory": "orders.events", "orders": "inventory.events"}  # group -> what it reads


def reset_offsets(system: System, group: str, *, to_end: bool) -> str:
    """Move the group's offsets to the end or the start of its topic. Its members must be gone."""
    topic = READERS[group]
    read = bounds(system.brokers(), topic).items()
    offsets = [TopicPartition(topic, part, end if to_end else first) for part, (first, end) in read]
    mover = Consumer({
        "bootstrap.servers": system.brokers(), "group.id": group, "enable.auto.commit": False, "log_level": 0,
    })  # fmt: skip

    def moved() -> bool:
        try:
            answers = mover.commit(offsets=offsets, asynchronous=False) or []
        except KafkaException:  # a member that was killed keeps the group for its session's time
            return False
        return not any(answer.error for answer in answers)

    try:
        if not wait_until(moved, seconds=SECONDS):
            raise TimeoutError(f"the group {group} still has members")
    finally:
        mover.close()
    return f"the group {group} moved to the {'end' if to_end else 'start'} of {topic}"


def delete_group(system: System, group: str) -> str:
    """Delete the group with its offsets. Its members must be gone."""
    admin = system.admin()

    def deleted() -> bool:
        try:
            result_of(admin.delete_consumer_groups([group], request_timeout=SECONDS))
        except KafkaException as error:
            return bool(error.args[0].name() == "GROUP_ID_NOT_FOUND")
        return True

    if not wait_until(deleted, seconds=SECONDS):
        raise TimeoutError(f"the group {group} still has members")
    return f"the group {group} deleted with its offsets"


def _while_its_members_are_gone(system: System, move: Callable[[System, str], str]) -> str:
    """Choose a group, stop its members, those of a storm too, move it, and start its member again."""
    group = system.random.choice(sorted(READERS))
    role = f"consume-{group}"
    for process in system.stack.processes():
        if process.role.startswith(role):
            system.stop(process.role)
    try:
        return move(system, group)
    finally:
        system.start(role)


def _of_a_group(name: str, does: str, heals: str, move: Callable[[System, str], str]) -> Fault:
    return Fault(name, does, heals, partial(_while_its_members_are_gone, move=move))


FAULTS = [
    _of_a_group(
        "offsets-to-end",
        "A group is moved to the end of its topic.",
        "`audit --repair`, which beat runs",
        partial(reset_offsets, to_end=True),
    ),
    _of_a_group(
        "offsets-to-start",
        "A group is moved to the start of its topic.",
        "the inbox absorbs",
        partial(reset_offsets, to_end=False),
    ),
    _of_a_group(
        "offsets-deleted",
        "A group is deleted with its offsets.",
        "it reads from the start, and the inbox absorbs",
        delete_group,
    ),
]
