"""Kill -9, while the load goes on: a broker that leads, the consumer that deducts, the relay."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from confluent_kafka.admin import AdminClient

if TYPE_CHECKING:  # docker compose's image has no devservices
    from devservices import Stack

TOPIC = "orders.events"
RESTART_SECONDS = 60.0


def leader_role(admin: AdminClient, stack: "Stack") -> str:
    """The role of the broker that leads partition 0 of the orders' topic."""
    metadata = admin.list_topics(TOPIC, timeout=30)
    leader = metadata.topics[TOPIC].partitions[0].leader
    port = metadata.brokers[leader].port
    return next(process.role for process in stack.processes() if process.port == port)


def kill_three(admin: AdminClient, stack: "Stack", say: Callable[[str], None]) -> str:
    """SIGKILL the leader's broker, the inventory consumer and the Celery worker. Returns the broker's role."""
    leader = leader_role(admin, stack)
    for role in (leader, "consume-inventory", "worker"):
        pid = next(process.pid for process in stack.processes() if process.role == role)
        stack.kill(role)
        say(f"kill -9 {role} (pid {pid})")
    return leader


class Comeback:
    """Waits, in a thread of its own, until a broker that was killed is a member of the cluster again."""

    def __init__(self, stack: "Stack", role: str, say: Callable[[str], None]) -> None:
        self._failure = f"{role} is not back, {RESTART_SECONDS:.0f} s after all else was final"
        self._thread = threading.Thread(target=self._wait, args=(stack, role, say), daemon=True)
        self._thread.start()

    def failure(self) -> str:
        """Empty if it is back, or comes in time; else a sentence."""
        self._thread.join(RESTART_SECONDS)
        return self._failure

    def _wait(self, stack: "Stack", role: str, say: Callable[[str], None]) -> None:
        killed_at = time.monotonic()
        try:
            stack.wait_ready(role)
        except Exception as error:  # in a thread nobody else would hear of it
            self._failure = f"{role} did not come back: {error}"
            return
        self._failure = ""
        say(f"{role} is back, {time.monotonic() - killed_at:.0f} s after it was killed")


def wait_until_all_run(stack: "Stack") -> None:
    """Wait until the supervisor has started everything again. Raises TimeoutError."""
    deadline = time.monotonic() + RESTART_SECONDS
    while missing := [process.role for process in stack.processes() if process.state != "running"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not running again after {RESTART_SECONDS:.0f} s: {', '.join(missing)}")
        time.sleep(0.2)
