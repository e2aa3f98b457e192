"""Make Kafka lose what it acknowledged: for real, on the disks and through the admin's own calls."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    OffsetSpec,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from devservices import BROKERS
from devservices.waiting import wait_until
from faults.fault import Fault
from faults.system import System

# The client's own types are missing for these two.
_FIRST: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_END: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
TOPICS = ("orders.events", "inventory.events")
READERS = {"inventory": "orders.events", "orders": "inventory.events"}  # group -> what it reads
_SECONDS = 30.0


def cut_tails(system: System, roles: Sequence[str], *, bytes_each: int = 400) -> str:
    """Power lost: kill these brokers together, cut the last bytes off each of their logs, start them again.

    A SIGKILL alone loses nothing, since the kernel still has the pages; lost power also takes those.
    """
    for role in roles:
        system.pause(role)
    for role in roles:
        system.stop(role)
    cut = sum(_cut(file, bytes_each) for role in roles for file in _segments(system, role))
    for role in roles:
        system.start(role)
    return f"power lost at {', '.join(roles)}: {cut} logs cut short by {bytes_each} bytes"


def make_again(system: System, topic: str) -> str:
    """Delete the topic with all that is in it, and make it again with the same settings."""
    admin = system.admin()
    described = _topic_settings(admin, topic)
    partitions = len(admin.list_topics(topic, timeout=_SECONDS).topics[topic].partitions)
    _result(admin.delete_topics([topic], operation_timeout=_SECONDS))
    fresh = NewTopic(topic, num_partitions=partitions, replication_factor=3, config=described)

    def made() -> bool:
        try:
            _result(admin.create_topics([fresh], operation_timeout=_SECONDS))
        except KafkaException as error:
            if error.args[0].name() == "TOPIC_ALREADY_EXISTS":  # the deletion is not everywhere yet
                return False
            raise
        return True

    if not wait_until(made, seconds=_SECONDS):
        raise TimeoutError(f"{topic} could not be made again")
    return f"{topic} deleted and made again"


def delete_records(system: System, topic: str) -> str:
    """DeleteRecords up to the end of every partition."""
    admin = system.admin()
    ends = [TopicPartition(topic, part, end) for part, end in _ends(admin, topic).items() if end > 0]
    if ends:
        _result(admin.delete_records(ends, request_timeout=_SECONDS))
    return f"every record of {topic} deleted"


def expire(system: System, topic: str) -> str:
    """Let retention remove every record, then give the topic its retention back."""
    admin = system.admin()
    before = _topic_settings(admin, topic)["retention.ms"]
    # Roll each segment soon, so that the last one can go too.
    _set(admin, topic, {"retention.ms": "1", "segment.ms": "1"})
    removed = wait_until(lambda: _is_empty(admin, topic), seconds=_SECONDS)
    _set(admin, topic, {"retention.ms": before, "segment.ms": None})
    return f"retention removed {'every record' if removed else 'some records'} of {topic}"


def elect_uncleanly(system: System, topic: str, between: Callable[[], None]) -> str:
    """Make a broker leader that lacks acknowledged records.

    One broker is away while `between` writes; then power is lost at the two that have it, the first comes
    back and leads, as `unclean.leader.election.enable` allows, and the others follow it.
    """
    admin = system.admin()
    late, *rest = BROKERS
    _set(admin, topic, {"unclean.leader.election.enable": "true"})
    system.stop(late)
    wait_until(lambda: _in_sync(admin, topic) <= {2, 3}, seconds=_SECONDS)
    between()
    for role in rest:
        system.pause(role)
    for role in rest:
        system.stop(role)
    for role in rest:
        for file in _segments(system, role):
            if file.parent.name.startswith(f"{topic}-"):
                _cut(file, 1_000_000)
    for role in BROKERS:
        system.start(role)
    for role in BROKERS:
        system.stack.wait_ready(role)
    _set(system.admin(), topic, {"unclean.leader.election.enable": "false"})
    return f"{late} leads {topic} without what was acknowledged while it was away"


def reset_offsets(system: System, group: str, *, to_end: bool) -> str:
    """Move the group's offsets to the end or the start of its topic. Its members must be gone."""
    admin = system.admin()
    topic = READERS[group]
    spec = _END if to_end else _FIRST
    offsets = [TopicPartition(topic, part, at) for part, at in _ends(admin, topic, spec).items()]
    servers = ",".join(f"127.0.0.1:{system.process(role).port}" for role in BROKERS)
    mover = Consumer({"bootstrap.servers": servers, "group.id": group, "enable.auto.commit": False, "log_level": 0})

    def moved() -> bool:
        try:
            answers = mover.commit(offsets=offsets, asynchronous=False) or []
        except KafkaException:  # a member that was killed keeps the group for its session's time
            return False
        return not any(answer.error for answer in answers)

    try:
        if not wait_until(moved, seconds=_SECONDS):
            raise TimeoutError(f"the group {group} still has members")
    finally:
        mover.close()
    return f"the group {group} moved to the {'end' if to_end else 'start'} of {topic}"


def delete_group(system: System, group: str) -> str:
    """Delete the group with its offsets. Its members must be gone."""
    admin = system.admin()

    def deleted() -> bool:
        try:
            _result(admin.delete_consumer_groups([group], request_timeout=_SECONDS))
        except KafkaException as error:
            return bool(error.args[0].name() == "GROUP_ID_NOT_FOUND")
        return True

    if not wait_until(deleted, seconds=_SECONDS):
        raise TimeoutError(f"the group {group} still has members")
    return f"the group {group} deleted with its offsets"


def add_partitions(system: System, topic: str, count: int) -> str:
    """Give the topic more partitions: keys move to other ones."""
    admin = system.admin()
    _result(admin.create_partitions([NewPartitions(topic, count)], operation_timeout=_SECONDS))
    return f"{topic} has {count} partitions now"


def _segments(system: System, role: str) -> list[Path]:
    data = system.stack.folder / role / "data"
    return [file for topic in TOPICS for folder in data.glob(f"{topic}-*") for file in folder.glob("*.log")]


def _cut(file: Path, count: int) -> bool:
    """Shorten a segment; Kafka finds the torn batch when it recovers the log. False for an empty one."""
    size = file.stat().st_size
    if size == 0:
        return False
    with file.open("r+b") as segment:
        segment.truncate(max(0, size - count))
    return True


def _topic_settings(admin: AdminClient, topic: str) -> dict[str, str]:
    (future,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    own = [entry for entry in future.result(_SECONDS).values() if not entry.is_default]
    return {entry.name: str(entry.value) for entry in own}


def _set(admin: AdminClient, topic: str, values: dict[str, str | None]) -> None:
    entries = [
        ConfigEntry(
            name,
            value,
            incremental_operation=AlterConfigOpType.SET if value is not None else AlterConfigOpType.DELETE,
        )
        for name, value in values.items()
    ]
    _result(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)]))


def _ends(admin: AdminClient, topic: str, at: Any = _END) -> dict[int, int]:
    """The offset of every partition at this end; a partition whose leader is just changing is asked again."""
    found: dict[int, int] = {}

    def asked() -> bool:
        try:
            partitions = admin.list_topics(topic, timeout=_SECONDS).topics[topic].partitions
            answers = admin.list_offsets({TopicPartition(topic, part): at for part in partitions})
            found.update({place.partition: future.result(_SECONDS).offset for place, future in answers.items()})
        except KafkaException:
            return False
        return True

    if not wait_until(asked, seconds=_SECONDS):
        raise TimeoutError(f"{topic} has no leader")
    return found


def _is_empty(admin: AdminClient, topic: str) -> bool:
    return _ends(admin, topic) == _ends(admin, topic, _FIRST)


def _in_sync(admin: AdminClient, topic: str) -> set[int]:
    partitions = admin.list_topics(topic, timeout=_SECONDS).topics[topic].partitions.values()
    return {broker for partition in partitions for broker in partition.isrs}


def _result(futures: Mapping[Any, Future[Any]]) -> None:
    for future in futures.values():
        future.result(_SECONDS)


def _of_a_topic(lose: Callable[[System, str], str]) -> Callable[[System], str]:
    return lambda system: lose(system, system.random.choice(TOPICS))


def _cut_some(system: System, count: int) -> str:
    return cut_tails(system, system.random.sample(BROKERS, count))


def _moved(system: System, *, to_end: bool) -> str:
    """Stop the group's members, move it, start them again."""
    group = system.random.choice(sorted(READERS))
    role = f"consume-{group}"
    system.stop(role)
    try:
        return reset_offsets(system, group, to_end=to_end)
    finally:
        system.start(role)


_REPAIRED = "`audit --repair`, which beat runs"
FAULTS: list[Fault] = [
    Fault("lose-tail-of-one", "Power lost at one broker: its logs are cut short.", "the other two have it all", partial(_cut_some, count=1)),  # noqa: E501
    Fault("lose-tail-of-two", "Power lost at two brokers at once.", _REPAIRED, partial(_cut_some, count=2)),
    Fault("lose-tail-of-all", "Power lost at all three brokers at once.", _REPAIRED, partial(_cut_some, count=3)),
    Fault("lose-topic", "A topic is deleted and made again.", _REPAIRED, _of_a_topic(make_again)),
    Fault("lose-records", "Every record of a topic is deleted.", _REPAIRED, _of_a_topic(delete_records)),
    Fault("lose-by-retention", "Retention removes every record of a topic.", _REPAIRED, _of_a_topic(expire)),
    Fault("offsets-to-end", "A group is moved to the end of its topic.", _REPAIRED, partial(_moved, to_end=True)),
    Fault("offsets-to-start", "A group is moved to the start of its topic.", "the inbox absorbs", partial(_moved, to_end=False)),  # noqa: E501
]  # fmt: skip
