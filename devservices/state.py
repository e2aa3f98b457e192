"""What a stack's folder remembers, so that any process can attach to it: `state.json`."""

import base64
import json
import secrets
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

from devservices.ports import free_port, is_free

BROKERS = ("kafka-1", "kafka-2", "kafka-3")


def controller_port_name(role: str) -> str:
    """The name under which a broker's second port is kept."""
    return f"{role}-controller"


def client_port_name(role: str) -> str:
    """The name under which the port is kept on which a proxied broker serves its clients."""
    return f"{role}-client"


def proxy_port_name(role: str) -> str:
    """The name under which the port is kept to which a proxied broker sends its clients."""
    return f"{role}-proxy"


PORT_NAMES = ("postgres", "redis", *BROKERS, *map(controller_port_name, BROKERS))
PROXIED_PORT_NAMES = (*map(client_port_name, BROKERS), *map(proxy_port_name, BROKERS))


def _new_cluster_id() -> str:
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        continue  # Kafka's tools would take it for an option
    return text


@dataclass
class State:
    """Ports and secrets of one stack. They stay the same as long as its folder does.

    `outside` is a folder in the temporary directory, for what cannot lie in the stack's folder.
    `proxied`: the brokers send their clients to proxies, which somebody else runs.
    """

    ports: dict[str, int] = field(default_factory=dict)
    cluster_id: str = field(default_factory=_new_cluster_id)
    postgres_password: str = field(default_factory=lambda: secrets.token_hex(16))
    outside: str | None = None
    proxied: bool = False

    @classmethod
    def load(cls, folder: Path) -> "State | None":
        """The folder's state, or None when nothing was ever started in it."""
        try:
            return cls(**json.loads((folder / "state.json").read_text()))
        except FileNotFoundError:
            return None

    def save(self, folder: Path) -> None:
        """Write the state, readable only by its owner, whole or not at all."""
        scratch = folder / ".state.json"
        scratch.touch(mode=0o600)
        scratch.write_text(json.dumps(asdict(self), indent=2) + "\n")
        scratch.replace(folder / "state.json")

    def settle_ports(self) -> None:
        """Keep each port that is still free and choose the others anew; nothing may run yet."""
        for name in (*PORT_NAMES, *(PROXIED_PORT_NAMES if self.proxied else ())):
            if name not in self.ports or not is_free(self.ports[name]):
                self.ports[name] = free_port(self.ports.values())
