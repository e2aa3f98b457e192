"""Make Kafka lose what it acknowledged: for real, on the disks and through the admin's own calls."""

import shutil
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewTopic

from devservices import BROKERS
from devservices.waiting import wait_until
from faults.fault import Fault
from faults.kafka_admin import SECONDS, bounds, in_sync, result_of, set_topic, topic_settings
from faults.system import NOTHING_HURT, System

_UNCLEAN = "unclean.leader.election.enable"
TOPICS = ("orders.events", "inventory.events")
_BATCH_HEADER_BYTES = 61  # of a record batch: what follows is under its CRC
_LOST_SECONDS = 3.0  # for how long orders flow that an unclean election then loses


def cut_tails(system: System, roles: Sequence[str], *, bytes_each: int = 400) -> str:
    """Power lost: kill these brokers together, cut the last bytes off each of their logs, start them again.

    A SIGKILL alone loses nothing, since the kernel still has the pages; lost power also takes those.
    """
    system.lost.update(TOPICS)
    _kill_together(system, roles)
    cut = sum(_cut(file, bytes_each) for role in roles for file in _segments(system, role))
    for role in roles:
        system.start(role)
    what = f"{cut} logs cut short by {bytes_each} bytes" if cut else f"{NOTHING_HURT}, the logs are empty"
    return f"power lost at {', '.join(roles)}: {what}"


def lose_folders(system: System, role: str, topic: str) -> str:
    """A broker comes back on an empty disk, as far as this topic goes."""
    system.stop(role)
    folders = list((system.stack.folder / role / "data").glob(f"{topic}-*"))
    for folder in folders:
        shutil.rmtree(folder)
    system.start(role)
    return f"{role} lost {len(folders)} partitions of {topic}"


def rot_first_batch(system: System, topic: str, partition: int) -> str:
    """One bit of the partition's first batch turns over on its leader's disk. Returns the leader."""
    role = system.leaders(topic)[partition]
    (segment,) = (system.stack.folder / role / "data" / f"{topic}-{partition}").glob("*.log")
    with segment.open("r+b") as file:
        file.seek(_BATCH_HEADER_BYTES)
        (byte,) = file.read(1)
        file.seek(_BATCH_HEADER_BYTES)
        file.write(bytes([byte ^ 1]))
    return role


def make_again(system: System, topic: str) -> str:
    """Delete the topic with all that is in it, and make it again with the same settings."""
    system.lost.add(topic)
    admin = system.admin()
    described = topic_settings(admin, topic)
    partitions = len(admin.list_topics(topic, timeout=SECONDS).topics[topic].partitions)
    result_of(admin.delete_topics([topic], operation_timeout=SECONDS))
    fresh = NewTopic(topic, num_partitions=partitions, replication_factor=3, config=described)

    def made() -> bool:
        try:
            result_of(admin.create_topics([fresh], operation_timeout=SECONDS))
        except KafkaException as error:
            if error.args[0].name() == "TOPIC_ALREADY_EXISTS":  # the deletion is not everywhere yet
                return False
            raise
        return True

    if not wait_until(made, seconds=SECONDS):
        raise TimeoutError(f"{topic} could not be recreated")
    return f"{topic} deleted and recreated"


def delete_records(system: System, topic: str) -> str:
    """DeleteRecords up to the end of every partition."""
    held = bounds(system.brokers(), topic).items()
    whole = [TopicPartition(topic, part, end) for part, (first, end) in held if end > first]
    if not whole:
        return f"{NOTHING_HURT}, {topic} is empty"
    system.lost.add(topic)
    admin = system.admin()  # which must live until it has answered
    result_of(admin.delete_records(whole, request_timeout=SECONDS))
    return f"every record of {topic} deleted"


def expire(system: System, topic: str) -> str:
    """Let retention remove every record, then give the topic its retention back."""
    if _is_empty(system, topic):
        return f"{NOTHING_HURT}, {topic} is empty"
    system.lost.add(topic)
    admin = system.admin()
    before = topic_settings(admin, topic)["retention.ms"]
    # Roll each segment soon, so that the last one can go too.
    set_topic(admin, topic, {"retention.ms": "1", "segment.ms": "1"})
    try:
        removed = wait_until(lambda: _is_empty(system, topic), seconds=SECONDS)
    finally:
        set_topic(admin, topic, {"retention.ms": before, "segment.ms": None})
    return f"retention removed {'every record' if removed else 'some records'} of {topic}"


def elect_uncleanly(system: System, topic: str, between: Callable[[], None]) -> str:
    """Make a broker leader that lacks acknowledged records.

    One broker is away while `between` writes; then the two that have it all are killed at once, and all three start
    again. Who was killed may have lost what it held, so neither is in sync any more: the first one is up before them
    and leads, as `unclean.leader.election.enable` allows, and the others drop what it lacks. Raises TimeoutError when
    it does not lead.
    """
    system.lost.add(topic)
    late, *rest = BROKERS
    set_topic(system.admin(), topic, {_UNCLEAN: "true"})
    try:
        system.stop(late)
        if not wait_until(lambda: in_sync(system.admin(), topic) <= {2, 3}, seconds=SECONDS):
            raise TimeoutError(f"{late} is still in sync")
        between()
        _kill_together(system, rest)
    finally:
        for role in BROKERS:
            system.start(role)
        try:
            for role in BROKERS:
                system.stack.wait_ready(role)
            elected = wait_until(lambda: late in system.leaders(topic).values(), seconds=SECONDS)
        finally:
            set_topic(system.admin(), topic, {_UNCLEAN: "false"})
    if not elected:
        raise TimeoutError(f"{late} was not elected")
    return f"{late} leads {topic} without what was acknowledged while it was away"


def add_partitions(system: System, topic: str, count: int) -> str:
    """Give the topic more partitions: keys move to other ones."""
    admin = system.admin()
    result_of(admin.create_partitions([NewPartitions(topic, count)], operation_timeout=SECONDS))
    return f"{topic} has {count} partitions now"


def _is_empty(system: System, topic: str) -> bool:
    return all(first == end for first, end in bounds(system.brokers(), topic).values())


def _kill_together(system: System, roles: Sequence[str]) -> None:
    """Kill them for good. Frozen first, so that none of them sees another one die."""
    for role in roles:
        system.pause(role)
    for role in roles:
        system.stop(role)


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


def _of_a_topic(lose: Callable[[System, str], str]) -> Callable[[System], str]:
    return lambda system: lose(system, system.random.choice(TOPICS))


def _cut_some(system: System, count: int) -> str:
    return cut_tails(system, system.random.sample(BROKERS, count))


def _elect_under_load(system: System, topic: str) -> str:
    return elect_uncleanly(system, topic, between=lambda: time.sleep(_LOST_SECONDS))


_REPAIRED = "`audit --repair`, which beat runs"
FAULTS: list[Fault] = [
    Fault("lose-tail-of-one", "Power lost at one broker: its logs are cut short.", "the other two have it all", partial(_cut_some, count=1)),  # noqa: E501
    Fault("lose-tail-of-two", "Power lost at two brokers at once.", _REPAIRED, partial(_cut_some, count=2)),
    Fault("lose-tail-of-all", "Power lost at all three brokers at once.", _REPAIRED, partial(_cut_some, count=3)),
    Fault("lose-topic", "A topic is deleted and recreated.", _REPAIRED, _of_a_topic(make_again)),
    Fault("lose-records", "Every record of a topic is deleted.", _REPAIRED, _of_a_topic(delete_records)),
    Fault("lose-by-retention", "Retention removes every record of a topic.", _REPAIRED, _of_a_topic(expire)),
    Fault("lose-by-unclean-election", "A broker leads that lacks acknowledged records.", _REPAIRED, _of_a_topic(_elect_under_load)),  # noqa: E501
]  # fmt: skip
