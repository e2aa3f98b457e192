"""The settings of a broker's `server.properties`, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devservices.ports import LOOPBACK

_SAFETY = {
    # An acknowledged record is on at least two of three brokers, and only a broker that has it
    # may become leader.
    "default.replication.factor": 3,
    "min.insync.replicas": 2,
    "unclean.leader.election.enable": "false",
    # A mistyped topic must fail instead of being made with nobody's settings.
    "auto.create.topics.enable": "false",
    # The internal topics hold what consumers and transactions committed.
    "offsets.topic.replication.factor": 3,
    "transaction.state.log.replication.factor": 3,
    "transaction.state.log.min.isr": 2,
    "share.coordinator.state.topic.replication.factor": 3,
    "share.coordinator.state.topic.min.isr": 2,
    # A record's time is the broker's, so that an audit does not depend on producers' clocks.
    "log.message.timestamp.type": "LogAppendTime",
    # 30 days, for records as for committed offsets.
    "log.retention.hours": 720,
    "offsets.retention.minutes": 43_200,
}
_QUICK_START = {
    "offsets.topic.num.partitions": 6,
    "transaction.state.log.num.partitions": 6,
    "share.coordinator.state.topic.num.partitions": 6,
    # What retention removes, it removes at once: nobody waits five minutes for a test.
    "log.retention.check.interval.ms": 1000,
    "log.initial.task.delay.ms": 1000,
    # The first consumer of a group need not wait 3 s for others.
    "group.initial.rebalance.delay.ms": 0,
}


@dataclass(frozen=True)
class ClientListener:
    """Where a broker serves the clients whom it sends to a proxy, and where that proxy listens."""

    port: int
    proxy_port: int


@dataclass(frozen=True)
class Node:
    """One broker and controller. Clients use its `port`, unless it has a listener of their own for them."""

    id: int
    folder: Path
    port: int
    controller_port: int
    clients: ClientListener | None = None

    @property
    def data(self) -> Path:
        """Where the logs lie."""
        return self.folder / "data"


def server_properties(node: Node, cluster: Sequence[Node], log_dir: Path) -> str:
    """The text of the file for `node`, with its logs in `log_dir`."""
    # Voters by address in the file, not in the log: a later `up` may have to choose other ports.
    voters = ",".join(f"{one.id}@{LOOPBACK}:{one.controller_port}" for one in cluster)
    protocols = "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT"
    listeners = f"BROKER://{LOOPBACK}:{node.port}"
    advertised = listeners
    if node.clients is not None:
        # The brokers speak to each other directly: only what clients say can be spoilt.
        protocols += ",CLIENT:PLAINTEXT"
        listeners += f",CLIENT://{LOOPBACK}:{node.clients.port}"
        advertised += f",CLIENT://{LOOPBACK}:{node.clients.proxy_port}"
    identity = {
        "process.roles": "broker,controller",
        "node.id": node.id,
        "listeners": f"{listeners},CONTROLLER://{LOOPBACK}:{node.controller_port}",
        "advertised.listeners": advertised,
        "listener.security.protocol.map": protocols,
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": voters,
        # In a properties file a backslash must be doubled.
        "log.dirs": str(log_dir).replace("\\", "\\\\"),
    }
    settings = {**identity, **_SAFETY, **_QUICK_START}
    return "".join(f"{name}={value}\n" for name, value in settings.items())
