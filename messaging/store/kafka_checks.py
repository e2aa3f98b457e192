"""What the brokers say of themselves and of the declared topics, held against what loses nothing."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    ConfigSource,
    ResourceType,
)
from django.conf import settings as django_settings

from messaging.registry import Topic
from messaging.store.findings import Finding, Severity
from messaging.store.topics import DAY_MS, MIN_INSYNC_REPLICAS, REPLICATION_FACTOR, settings_of

OFFSETS_TOPIC = "__consumer_offsets"


class Setting(NamedTuple):
    """A setting as it is in force; `by_name` where it was given to this broker alone, while it ran."""

    value: str
    by_name: bool = False


def examine_cluster(admin: AdminClient, topics: Sequence[Topic]) -> list[Finding]:
    """What the brokers say of themselves and of the declared topics."""
    metadata = admin.list_topics(timeout=15)
    brokers, silent = _broker_settings(admin, sorted(metadata.brokers))
    if not brokers:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    findings = [*_cluster_settings(brokers)]
    if len(brokers) < REPLICATION_FACTOR:
        findings.append(
            Finding(
                "K-BROKERS",
                "cluster",
                f"{len(brokers)} brokers answer" + (f", {silent} are silent" if silent else ""),
                "with fewer than three, the next failure stops writing or loses a copy",
                "start the brokers that are down: `make status`, `docker compose ps`",
                Severity.DEGRADED,
            )
        )
    settings = _topic_settings(admin, [topic.name for topic in topics if topic.name in metadata.topics])
    for topic in topics:
        if topic.name not in metadata.topics:
            findings.append(
                Finding(
                    "K-TOPIC",
                    topic.name,
                    "the topic does not exist",
                    "its messages wait in the outbox",
                    "python manage.py ensure_topics",
                )
            )
            continue
        findings += _topic_replicas(topic.name, metadata, settings[topic.name])
        findings += _topic_partitions(topic, metadata.topics[topic.name])
        findings += _topic_configuration(topic.name, settings[topic.name], settings_of(topic))
        findings += _inbox_retention(topic.name, settings[topic.name])
    if OFFSETS_TOPIC in metadata.topics:
        live = _topic_settings(admin, [OFFSETS_TOPIC])[OFFSETS_TOPIC]
        findings += _topic_replicas(OFFSETS_TOPIC, metadata, live)
        findings += _topic_configuration(OFFSETS_TOPIC, live, _OFFSETS_WANTED)
    return findings


def _broker_settings(admin: AdminClient, brokers: Sequence[int]) -> tuple[dict[str, dict[str, Setting]], list[int]]:
    """Each broker's settings, and the brokers that did not answer: one that died stays listed for a while."""
    found: dict[str, dict[str, Setting]] = {}
    silent = []
    for broker in brokers:
        try:
            found |= _describe(admin, [ConfigResource(ResourceType.BROKER, str(broker))], seconds=3)
        except (KafkaException, TimeoutError):
            silent.append(broker)
    return found, silent


def _topic_settings(admin: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    try:
        described = _describe(admin, resources, seconds=5)
    except KafkaException:
        # For its first seconds a broker that died is asked as if it lived; by now another one is.
        described = _describe(admin, resources, seconds=15)
    return {topic: {name: setting.value for name, setting in live.items()} for topic, live in described.items()}


def _describe(admin: AdminClient, resources: list[ConfigResource], *, seconds: float) -> dict[str, dict[str, Setting]]:
    found = {}
    for resource in resources:  # a call takes one broker
        (future,) = admin.describe_configs([resource], request_timeout=seconds).values()
        found[str(resource.name)] = {
            entry.name: Setting(str(entry.value), entry.source == ConfigSource.DYNAMIC_BROKER_CONFIG.value)
            for entry in future.result(seconds + 5).values()
        }
    return found


def _tool(script: str) -> str:
    """How to call one of Kafka's scripts for this cluster."""
    return f"{script} --bootstrap-server {django_settings.KAFKA_BOOTSTRAP_SERVERS}"


def _set_on_brokers(broker: str, setting: Setting, name: str, value: str) -> str:
    # What a broker was given by its name hides the default, and only there may it be set anew. All else goes to the
    # default: with Eligible Leader Replicas on, Kafka takes min.insync.replicas in no other place.
    where = f"--entity-name {broker}" if setting.by_name else "--entity-default"
    return f"{_tool('kafka-configs.sh')} --alter --entity-type brokers {where} --add-config {name}={value}"


class _Rule(NamedTuple):
    """What a broker's setting must be. It is mended by a value to set while the brokers run, or as a sentence says."""

    id: str
    setting: str
    is_safe: Callable[[str], bool]
    risk: str
    value: str = ""
    sentence: str = ""


_CLUSTER_RULES = [
    _Rule(
        "K-CLUSTER-MIN-ISR",
        "min.insync.replicas",
        lambda live: int(live) >= MIN_INSYNC_REPLICAS,
        "topics without an own setting, the consumers' offsets among them, acknowledge on one copy",
        value=str(MIN_INSYNC_REPLICAS),
    ),
    _Rule(
        "K-CLUSTER-UNCLEAN",
        "unclean.leader.election.enable",
        lambda live: live == "false",
        "a replica that lacks acknowledged messages may become leader",
        value="false",
    ),
    _Rule(
        "K-AUTO-CREATE",
        "auto.create.topics.enable",
        lambda live: live == "false",
        "a misspelt topic is made with one replica",
        sentence="set auto.create.topics.enable=false in each broker's server.properties and restart it",
    ),
    _Rule(
        "K-OFFSETS-RF",
        "offsets.topic.replication.factor",
        lambda live: int(live) >= REPLICATION_FACTOR,
        "the consumers' offsets have one copy",
        sentence=f"set offsets.topic.replication.factor={REPLICATION_FACTOR} before the first start",
    ),
]


def _cluster_settings(brokers: Mapping[str, Mapping[str, Setting]]) -> Iterator[Finding]:
    for broker, live in brokers.items():
        for rule in _CLUSTER_RULES:
            found = live.get(rule.setting)
            if found and not rule.is_safe(found.value):
                mend = rule.sentence or _set_on_brokers(broker, found, rule.setting, rule.value)
                yield Finding(rule.id, f"broker {broker}", f"{rule.setting} = {found.value}", rule.risk, mend)


def _topic_replicas(name: str, metadata: Any, live: dict[str, str]) -> Iterator[Finding]:
    topic = metadata.topics[name]
    replicas = min(len(partition.replicas) for partition in topic.partitions.values())
    if replicas < REPLICATION_FACTOR:
        yield Finding(
            "K-RF",
            name,
            f"replication factor {replicas}",
            "the loss of a disk loses acknowledged messages",
            _reassign(name, topic, sorted(metadata.brokers)),
        )
    states: dict[str, list[int]] = {}
    for partition in topic.partitions.values():
        states.setdefault(_state_now(partition, int(live["min.insync.replicas"])), []).append(partition.id)
    for id_, (found, risk, mends) in _STATES_NOW.items():
        if id_ in states:
            partitions = sorted(states[id_])
            mend = mends.format(elect=_elect(name, partitions[0]))
            yield Finding(id_, name, f"partitions {partitions} {found}", risk, mend, Severity.DEGRADED)


def _elect(name: str, partition: int) -> str:
    return f"{_tool('kafka-leader-election.sh')} --election-type UNCLEAN --topic {name} --partition {partition}"


def _reassign(name: str, topic: Any, brokers: Sequence[int]) -> str:
    """Each partition keeps the replicas that it has, and gets more on the brokers that follow."""
    if len(brokers) < REPLICATION_FACTOR:
        return f"start {REPLICATION_FACTOR} brokers, then ask `manage.py doctor` for the command"
    partitions = []
    for partition in topic.partitions.values():
        first = partition.id % len(brokers)
        others = [broker for broker in [*brokers[first:], *brokers[:first]] if broker not in partition.replicas]
        replicas = [*partition.replicas, *others][: max(REPLICATION_FACTOR, len(partition.replicas))]
        partitions.append({"topic": name, "partition": partition.id, "replicas": replicas})
    plan = json.dumps({"version": 1, "partitions": partitions}, separators=(",", ":"))
    # The script wants a file; bash makes one of its input.
    return f"{_tool('kafka-reassign-partitions.sh')} --execute --reassignment-json-file /dev/stdin <<< '{plan}'"


_MENDS_ITSELF = (
    "start the brokers that are down; it mends itself. Change min.insync.replicas only after that: "
    "with replicas out of sync, Kafka forgets by it who else may lead"
)
# The worst first. None loses a message: it waits in the outbox or in the log.
_STATES_NOW = {
    "K-LEADERLESS": (
        "have no leader",
        "nothing is written to them and nothing is read, until a leader is back",
        "start the brokers that are down. With all of them up, elect by hand, for each partition, one that may lack "
        "messages: {elect}. `python manage.py audit --repair` then finds what it lacks",
    ),
    "K-MIN-ISR-NOW": (
        "have fewer replicas in sync than min.insync.replicas",
        "nothing is acknowledged: what is written waits in the outbox",
        _MENDS_ITSELF,
    ),
    "K-ISR": (
        "have replicas that are out of sync",
        "until they have caught up, one more failure stops writing",
        _MENDS_ITSELF,
    ),
}


def _state_now(partition: Any, min_insync: int) -> str:
    """A partition's finding, or "whole"."""
    if partition.leader < 0:
        return "K-LEADERLESS"
    if len(partition.isrs) < min_insync:
        return "K-MIN-ISR-NOW"
    return "K-ISR" if len(partition.isrs) < len(partition.replicas) else "whole"


def _topic_partitions(declared: Topic, topic: Any) -> Iterator[Finding]:
    if len(topic.partitions) != declared.partitions:
        yield Finding(
            "K-PARTITIONS",
            declared.name,
            f"{len(topic.partitions)} partitions, declared {declared.partitions}",
            "keys move to other partitions, and messages of one order can overtake each other",
            f"declare partitions={len(topic.partitions)} in config/registry.py once the backlog is empty",
        )


_TOPIC_FINDINGS = {
    "min.insync.replicas": ("K-MIN-ISR", "a message is acknowledged although only one broker has it"),
    "unclean.leader.election.enable": ("K-UNCLEAN", "a replica without the last messages may become leader"),
    "cleanup.policy": ("K-CLEANUP", "compaction removes older messages of a key before they were read"),
    "retention.ms": ("K-RETENTION", "messages are removed before a stopped consumer has read them"),
    "max.message.bytes": ("K-MAX-BYTES", "batches and messages that the relay may publish are refused"),
    "message.timestamp.type": ("K-TIMESTAMP", "a producer's wrong clock removes a segment at once"),
}


# The consumers' offsets are compacted on purpose; what they share with the topics is durability.
_OFFSETS_WANTED = {
    "min.insync.replicas": str(MIN_INSYNC_REPLICAS),
    "unclean.leader.election.enable": "false",
}


def _topic_configuration(topic: str, live: dict[str, str], wanted: dict[str, str]) -> Iterator[Finding]:
    for name, value in wanted.items():
        if not _at_least(name, live[name], value):
            finding, risk = _TOPIC_FINDINGS[name]
            yield Finding(
                finding,
                topic,
                f"{name} = {live[name]}",
                risk,
                f"{_tool('kafka-configs.sh')} --alter --topic {topic} --add-config {name}={value}",
            )


def _inbox_retention(topic: str, live: dict[str, str]) -> Iterator[Finding]:
    kept_ms, wanted_ms = int(live["retention.ms"]), django_settings.INBOX_RETENTION_DAYS * DAY_MS
    if kept_ms == -1 or kept_ms >= wanted_ms:
        yield Finding(
            "K-INBOX",
            topic,
            f"retention.ms = {kept_ms}, INBOX_RETENTION_DAYS = {django_settings.INBOX_RETENTION_DAYS}",
            "a message that is delivered again after `manage.py prune` is not recognised as a redelivery",
            "set INBOX_RETENTION_DAYS to more than the topic keeps, or the topic's retention.ms to less",
        )


def _at_least(name: str, live: str, wanted: str) -> bool:
    """Whether a live topic setting is as safe as the wanted one."""
    if name == "retention.ms":
        return int(live) == -1 or int(live) >= int(wanted)
    if name in ("min.insync.replicas", "max.message.bytes"):
        return int(live) >= int(wanted)
    return live == wanted
