"""What faults are injected into: a running stack, with the application's programs beside its servers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from signal import SIGTERM

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from devservices import BROKERS, DevservicesError, Process, Program, Stack
from devservices.waiting import wait_until
from faults.line import Line
from faults.proxy import Proxy

# Said by an injection that found nothing to hurt.
NOTHING_HURT = "nothing was hurt"
# Long enough for the supervisor to start again what has just died.
_RESTART_SECONDS = 3.0


class FaultRefused(Exception):
    """This system lacks what the fault needs; the text says what. Nothing was done."""


@dataclass
class System:
    """A stack with what a fault must know of it.

    `programs` are the application's, as they were added to the stack. `proxies` stand before the servers of these
    roles. With the same `random` the same choices are made. `lost` are the topics of which records were made to vanish,
    `lines` those that were spoilt.
    """

    stack: Stack
    database_url: str
    programs: Sequence[Program] = ()
    proxies: Mapping[str, Proxy] = field(default_factory=dict)
    random: Random = field(default_factory=Random)
    lost: set[str] = field(default_factory=set)
    lines: list[Line] = field(default_factory=list)
    _hurt: dict[str, list[str]] = field(default_factory=dict)

    def brokers(self) -> str:
        """The brokers' own addresses, past any proxy, in Kafka's notation."""
        return ",".join(f"127.0.0.1:{self.process(role).port}" for role in BROKERS)

    def admin(self) -> AdminClient:
        """A client of the brokers' own addresses."""
        return AdminClient({"bootstrap.servers": self.brokers(), "log_level": 0})

    def leaders(self, topic: str) -> dict[int, str]:
        """The role of the broker that leads each partition, of those that are led. Empty when nobody tells."""
        try:
            partitions = self.admin().list_topics(topic, timeout=5).topics[topic].partitions
        except KafkaException:
            return {}
        return {number: BROKERS[part.leader - 1] for number, part in partitions.items() if part.leader > 0}

    def leader(self, topic: str, partition: int) -> str | None:
        """The role of the broker that leads the partition. None while nobody does, or nobody can tell."""
        return self.leaders(topic).get(partition)

    def process(self, role: str) -> Process:
        """The process of a role as it is now. Raises FaultRefused when nothing of that role was ever started."""
        for process in self.stack.processes():
            if process.role == role:
                return process
        raise FaultRefused(f"nothing in {self.stack.folder} has the role {role!r}")

    def program(self, role: str) -> Program:
        """The application's program of a role. Raises FaultRefused."""
        for program in self.programs:
            if program.role == role:
                return program
        raise FaultRefused(f"this system has no program {role!r}: start it with `make up`")

    def proxy(self, role: str) -> Proxy:
        """The proxy before a server. Raises FaultRefused."""
        if role not in self.proxies:
            raise FaultRefused(f"there is no proxy before {role}")
        return self.proxies[role]

    def kill(self, role: str) -> str:
        """SIGKILL; the supervisor starts it again. One sentence about what happened."""
        return self._try(lambda: self.stack.kill(role), f"kill -9 {role}")

    def pause(self, role: str) -> str:
        """SIGSTOP."""
        return self._try(lambda: self.stack.pause(role), f"kill -STOP {role}")

    def resume(self, role: str) -> str:
        """SIGCONT."""
        return self._try(lambda: self.stack.resume(role), f"kill -CONT {role}")

    def stop(self, role: str, *, orderly: bool = False) -> str:
        """End it until `start`: suddenly, or in its orderly way."""
        # What has just died would be started again by the supervisor, which must know that this end is wanted.
        wait_until(lambda: self._settled(role), seconds=_RESTART_SECONDS)
        if orderly:
            return self._try(lambda: self.stack.stop(role, SIGTERM), f"stop {role}")
        return self._try(lambda: self.stack.stop(role), f"kill -9 {role}, for good")

    def start(self, role: str) -> str:
        """Start what was stopped."""
        return self._try(lambda: self.stack.start(role), f"start {role}")

    def run(self, program: Program, how: str) -> str:
        """Run this program in place of the one of its role."""
        self.stop(program.role, orderly=True)
        return self._try(lambda: self.stack.add([program]), f"{program.role} runs {how}")

    def remember(self, fault: str, roles: Sequence[str]) -> None:
        """Note whom a fault has hurt, so that it can be healed."""
        self._hurt.setdefault(fault, []).extend(roles)

    def take_hurt_by(self, fault: str) -> list[str]:
        """Whom a fault has hurt since this was last asked."""
        return self._hurt.pop(fault, [])

    def _settled(self, role: str) -> bool:
        process = self.process(role)
        return process.pid is not None or process.state == "stopped"

    def _try(self, act: Callable[[], None], what: str) -> str:
        """Act; that the process has ended in this very moment, by another fault, is no error."""
        try:
            act()
        except (DevservicesError, psutil.NoSuchProcess):
            return f"{what}: {NOTHING_HURT}, it does not run"
        return what
