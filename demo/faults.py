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
    """SIGKILL the leader's broker, the inventory consumer and the Celery worker. Answers with the broker's role."""
    leader = leader_role(admin, stack)
    for role in (leader, "consume-inventory", "worker"):
        pid = next(process.pid for process in stack.processes() if process.role == role)
        stack.kill(role)
        say(f"kill -9 {role} (pid {pid})")
    return leader


def say_when_back(stack: "Stack", role: str, say: Callable[[str], None]) -> threading.Thread:
    """A thread that waits until the broker is a member of the cluster again, and says so."""
    killed_at = time.monotonic()

    def wait() -> None:
        stack.wait_ready(role)
        say(f"{role} is back, {time.monotonic() - killed_at:.0f} s after it was killed")

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def wait_until_all_run(stack: "Stack") -> None:
    """Wait until the supervisor has started everything again. Raises TimeoutError."""
    deadline = time.monotonic() + RESTART_SECONDS
    while missing := [process.role for process in stack.processes() if process.state != "running"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not running again after {RESTART_SECONDS:.0f} s: {', '.join(missing)}")
        time.sleep(0.2)
