"""Kafka: three combined KRaft nodes, set as the promise needs it."""

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from devservices.errors import DevservicesError
from devservices.kafka_java import KafkaJava, find_java
from devservices.kafka_settings import ClientListener, Node, server_properties
from devservices.ports import LOOPBACK, free_port
from devservices.program import Program
from devservices.state import BROKERS, State, client_port_name, controller_port_name, proxy_port_name

_STOP_SECONDS = 30


def provision(folder: Path, state: State) -> list[Program]:
    """The three brokers as programs; their storage is formatted if it is not there yet."""
    java = find_java(_train)
    nodes = _nodes(folder, state)
    with ThreadPoolExecutor() as pool:
        list(pool.map(partial(_prepare, java, nodes, state.cluster_id), nodes))
    return [
        Program(
            role=role,
            command=java.command("kafka.Kafka", str(node.folder / "server.properties")),
            cwd=node.folder,
            port=node.port,
            stop_seconds=_STOP_SECONDS,
        )
        for role, node in zip(BROKERS, nodes, strict=True)
    ]


def bootstrap_servers(state: State) -> str:
    """Where clients find the brokers, in Kafka's notation: the proxies, where there are any."""
    return ",".join(f"{LOOPBACK}:{state.ports[proxy_port_name(role) if state.proxied else role]}" for role in BROKERS)


def client_listener(state: State, role: str) -> ClientListener | None:
    """The ports of a broker's clients and of their proxy; None where clients use the broker's own."""
    if not state.proxied:
        return None
    return ClientListener(port=state.ports[client_port_name(role)], proxy_port=state.ports[proxy_port_name(role)])


class BrokerProbe:
    """Asks one broker who is in the cluster."""

    def __init__(self, role: str, state: State) -> None:
        """Connect lazily: the broker need not be up yet."""
        settings: dict[str, str | int | float | bool] = {
            # Its own port, past any proxy.
            "bootstrap.servers": f"{LOOPBACK}:{state.ports[role]}",
            "reconnect.backoff.max.ms": 250,
            "log_level": 0,
        }
        self._admin = AdminClient(settings, logger=None)
        self._id = BROKERS.index(role) + 1

    def brokers(self) -> set[int]:
        """The ids of the brokers in the cluster's metadata; empty when there is no answer."""
        try:
            return set(self._admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return set()

    def is_ready(self) -> bool:
        """Whether the broker answers and is a member of the cluster."""
        return self._id in self.brokers()


def _nodes(folder: Path, state: State) -> list[Node]:
    return [
        Node(
            id=number,
            folder=folder / role,
            port=state.ports[role],
            controller_port=state.ports[controller_port_name(role)],
            clients=client_listener(state, role),
        )
        for number, role in enumerate(BROKERS, start=1)
    ]


def _prepare(java: KafkaJava, cluster: Sequence[Node], cluster_id: str, node: Node) -> None:
    """Write the node's settings and format its storage, once in its life."""
    node.folder.mkdir(exist_ok=True)
    if not node.data.exists():
        # Under another name until it is complete: an interrupted format leaves no storage.
        scratch = node.folder / "unformatted"
        settings = node.folder / "format.properties"
        settings.write_text(server_properties(node, cluster, scratch))
        _format(java, settings, cluster_id)
        scratch.rename(node.data)
    (node.folder / "server.properties").write_text(server_properties(node, cluster, node.data))


def _format(java: KafkaJava, settings: Path, cluster_id: str) -> None:
    options = ("--cluster-id", cluster_id, "--config", str(settings), "--ignore-formatted")
    command = java.command("kafka.tools.StorageTool", "format", *options)
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode != 0:
        raise DevservicesError(f"Kafka's storage was not formatted: {done.stdout + done.stderr}")


def _train(java: KafkaJava, folder: Path) -> list[str]:
    """Prepare a cluster of one node, in whose start the ahead-of-time cache is recorded."""
    port = free_port(())
    node = Node(id=1, folder=folder / "node", port=port, controller_port=free_port((port,)))
    # Formatting must not record: it would be taken for the training run.
    _prepare(KafkaJava(java.class_path), [node], State().cluster_id, node)
    return java.command("kafka.Kafka", str(node.folder / "server.properties"))
