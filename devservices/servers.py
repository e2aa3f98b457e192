"""The servers that a stack brings by itself: starting them, and knowing when they are up."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from devservices import kafka, postgres, redis_server
from devservices.errors import DevservicesError
from devservices.kafka_settings import ClientListener
from devservices.program import Program
from devservices.state import BROKERS, State
from devservices.supervision import Supervisor
from devservices.waiting import wait_until

SERVER_ROLES = (postgres.ROLE, redis_server.ROLE, *BROKERS)
READY_SECONDS = 90.0
_LOG_TAIL = 2000


class Servers:
    """The five servers of one stack; `state` holds where they listen."""

    def __init__(self, folder: Path, state: State, supervisor: Supervisor) -> None:
        """Attach to them; nothing is started."""
        self._folder = folder
        self._state = state
        self._supervisor = supervisor
        self._cancelled = threading.Event()

    def env(self) -> dict[str, str]:
        """Their addresses, as the application wants them in its environment."""
        return {
            "DATABASE_URL": postgres.url(self._state),
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers(self._state),
            "CELERY_BROKER_URL": redis_server.url(self._state),
            "REDIS_URL": redis_server.url(self._state),
        }

    def proxied_brokers(self) -> dict[str, ClientListener]:
        """The ports of each broker's clients and of their proxy; empty where clients use the brokers' own."""
        listeners = {role: kafka.client_listener(self._state, role) for role in BROKERS}
        return {role: listener for role, listener in listeners.items() if listener is not None}

    def start(self) -> None:
        """Start what does not run, all at once, and wait until each server answers."""
        known = self._supervisor.roles()
        starts = [
            partial(self._start, known, [postgres.ROLE], postgres.provision),
            partial(self._start, known, [redis_server.ROLE], redis_server.provision),
            partial(self._start, known, BROKERS, kafka.provision),
        ]
        with ThreadPoolExecutor(len(starts)) as pool:
            try:
                for future in [pool.submit(start) for start in starts]:
                    future.result()
            except BaseException:
                # Leaving the pool waits for the others: let them give up now.
                self._cancelled.set()
                raise

    def _start(
        self,
        known: set[str],
        roles: Sequence[str],
        provision: Callable[[Path, State], Sequence[Program]],
    ) -> None:
        if known.issuperset(roles):
            for role in roles:
                self._supervisor.start_program(role)
        else:
            for program in provision(self._folder, self._state):
                self._supervisor.add(program, {})
        for role in roles:
            self.wait_ready(role)

    def wait_ready(self, role: str, timeout: float = READY_SECONDS) -> None:
        """Wait until the server answers; DevservicesError with its log when it does not."""
        ready = self._readiness(role)
        if not wait_until(ready, seconds=timeout, cancelled=self._cancelled):
            log = self._folder / "logs" / f"{role}.log"
            raise DevservicesError(
                f"{role} does not answer (waited up to {timeout:g} s). The end of {log}:\n{_tail(log)}"
            )

    def _readiness(self, role: str) -> Callable[[], bool]:
        if role == postgres.ROLE:
            return partial(postgres.is_ready, self._state)
        if role == redis_server.ROLE:
            return partial(redis_server.is_ready, self._state)
        if role in BROKERS:
            return kafka.BrokerProbe(role, self._state).is_ready
        raise ValueError(f"{role!r} is no server: {', '.join(SERVER_ROLES)}")


def _tail(log: Path) -> str:
    try:
        return log.read_text(errors="replace")[-_LOG_TAIL:]
    except FileNotFoundError:
        return "(there is no log: the program was never started)"
