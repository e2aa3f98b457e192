"""The product's processes on the test's servers, as programs of the stack: what the faults of `faults/` hurt."""

import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from signal import SIGTERM

from django.core.management import call_command
from django.db import connection

from devservices import Program, Stack
from faults.fault import hold
from faults.kafka_admin import all_in_sync
from faults.proxy import Proxy
from faults.servers import FAULTS, heal_all
from faults.system import NOTHING_HURT, System
from messaging.models import OutboxReceipt, RelayShard
from messaging.produce.shards import SHARDS
from orders.models import Order
from tests.factories import LineFactory, StockItemFactory, place
from tests.faults.load import PLENTY, SCARCE
from tests.faults.proof import patiently
from tests.flow_tools import skip_what_the_log_holds, wait_until
from tests.process_tools import ROOT, environment

# How long a fault lasts that may last any time, and how long a server is away.
FAULT_SECONDS = 2.0
OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "60"))
CELERY = (sys.executable, "-m", "celery", "-A", "config")
COMMANDS: dict[str, Sequence[str]] = {
    "relay": (sys.executable, "manage.py", "relay"),
    "consume-inventory": (sys.executable, "manage.py", "consume", "inventory"),
    "consume-orders": (sys.executable, "manage.py", "consume", "orders"),
    "worker": (*CELERY, "worker"),
    "beat": (*CELERY, "beat", "--pidfile="),
    "web": (sys.executable, "-m", "gunicorn", "config.wsgi"),
}
FLOW = ("relay", "consume-inventory", "consume-orders")
FLOW_UNDER_CELERY = ("worker", "beat", "consume-inventory", "consume-orders")


class Scene:
    """Processes of the product with these roles, ready to be hurt. Use it as a context manager.

    `env` is added to every process's environment, `env_of` to one role's.
    """

    def __init__(
        self,
        stack: Stack,
        roles: Sequence[str] = FLOW,
        *,
        env: Mapping[str, str] | None = None,
        env_of: Mapping[str, Mapping[str, str]] | None = None,
        proxies: Mapping[str, Proxy] | None = None,
    ) -> None:
        own = {name: environment()[name] for name in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "SECRET_KEY")}
        programs = [
            Program(
                role,
                COMMANDS[role],
                env={**own, **(env or {}), "ROLE": role, **(env_of or {}).get(role, {})},
                cwd=ROOT,
            )
            for role in roles
        ]
        # pytest-randomly's seed makes the same choices again.
        self.system = System(stack, own["DATABASE_URL"], programs, proxies or {}, random.Random(random.random()))

    def __enter__(self) -> "Scene":
        self.wait_until_in_sync()
        skip_what_the_log_holds()
        RelayShard.objects.bulk_create([RelayShard(shard=n) for n in range(SHARDS)], ignore_conflicts=True)
        StockItemFactory(sku=PLENTY, initial=1_000_000)
        StockItemFactory(sku=SCARCE, initial=20)
        self.system.stack.add(self.system.programs)
        return self

    def __exit__(self, *_: object) -> None:
        heal_all(self.system)
        stack = self.system.stack
        # In the orderly way: members that vanish would hold their group for the next test.
        running = [process.role for process in stack.processes() if process.role.startswith(tuple(COMMANDS))]
        with ThreadPoolExecutor(len(COMMANDS)) as pool:
            list(pool.map(lambda role: stack.stop(role, SIGTERM), running))
        # A fault may have cut this process's own connection.
        connection.close()
        call_command("flush", verbosity=0, interactive=False)

    def wait_until_in_sync(self) -> None:
        """Wait until every broker has every record that it should."""
        wait_until(patiently(lambda: all_in_sync(self.system.admin())), what="all replicas are in sync")

    def wait_until_it_flows(self) -> None:
        """Wait until an order has gone all the way and back, and every broker is in sync again."""
        self.wait_until_in_sync()
        place(LineFactory(sku=PLENTY))
        wait_until(patiently(self._all_final), what="an order is confirmed")

    @contextmanager
    def hurt(self, fault: str) -> Iterator[str]:
        """Inject the fault of this name, and heal it at the end. Gives the line that says what was done."""
        try:
            yield self.inject(fault)
        finally:
            FAULTS[fault].heal(self.system)

    def hold(self, fault: str, *, seconds: float = FAULT_SECONDS) -> list[str]:
        """Inject it, hold it for some seconds and heal it. Returns the lines that say what was done.

        Fails when nothing was hurt: that would prove nothing.
        """
        told: list[str] = []
        assert hold(FAULTS[fault], self.system, seconds=seconds, tell=told.append), told
        return told

    def inject(self, fault: str) -> str:
        """Inject the fault of this name, once. Returns the line that says what was done."""
        told = FAULTS[fault].inject(self.system)
        assert NOTHING_HURT not in told, told
        return told

    def receipts(self) -> int:
        """How many messages the brokers have acknowledged."""
        return OutboxReceipt.objects.count()

    @staticmethod
    def _all_final() -> bool:
        return not Order.objects.filter(status=Order.Status.PENDING).exists()
