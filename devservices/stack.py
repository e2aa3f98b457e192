"""A stack: the servers, and programs beside them, in one folder under one supervisor."""

import fcntl
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, SIGTERM, Signals

import psutil

from devservices.errors import DevservicesError
from devservices.kafka_settings import ClientListener
from devservices.leftovers import end_leftovers, leftovers, stands_still, tree
from devservices.program import Process, Program
from devservices.servers import READY_SECONDS, SERVER_ROLES, Servers
from devservices.state import State
from devservices.supervision import Supervised, Supervisor
from devservices.waiting import wait_until

_STOP_SECONDS = 120


class Stack:
    """PostgreSQL, Redis and three Kafka brokers in `folder`, with programs beside them.

    Nothing happens before `up`. Any number of processes may hold a Stack of the same folder: what
    runs is found through the folder.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; it need not exist."""
        self.folder = folder.resolve()
        self._supervisor = Supervisor(self.folder)

    def up(self, programs: Sequence[Program] = (), *, proxied: bool = False) -> None:
        """Start what does not run yet, wait until the servers answer, then start `programs`.

        With `proxied`, the brokers send their clients to ports where the caller runs proxies: `proxied_brokers`.
        Raises DevservicesError with the end of the server's log when one does not answer in time.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # PostgreSQL's user must be able to pass; what is secret has a mode of its own.
        self.folder.chmod(0o711)
        with self._locked():
            state = State.load(self.folder) or State()
            if not self._supervisor.is_running():
                end_leftovers(self.folder)
                state.proxied = proxied
                state.settle_ports()
                state.save(self.folder)
                self._supervisor.start()
            elif proxied and not state.proxied:
                raise DevservicesError(
                    f"The stack in {self.folder} runs without proxies. Run `python -m devservices down` first."
                )
            Servers(self.folder, state, self._supervisor).start()
        self.add(programs)

    def add(self, programs: Sequence[Program]) -> None:
        """Start programs beside the servers; one of the same role is stopped and replaced."""
        env = self.env()
        for program in programs:
            self._supervisor.add(program, env)

    def env(self) -> dict[str, str]:
        """The servers' addresses, as the application wants them in its environment."""
        return self._servers().env()

    def proxied_brokers(self) -> dict[str, ClientListener]:
        """For each broker's role, the port on which its clients look for a proxy and the one it must lead to.

        Empty when the stack was not brought up with `proxied`.
        """
        return self._servers().proxied_brokers()

    def processes(self) -> list[Process]:
        """What runs or ran in this stack, by role; empty when the stack is down."""
        if not self._supervisor.is_running():
            return []
        return [
            Process(one.role, one.pid, self._supervisor.port(one.role), _state_of(one))
            for one in self._supervisor.programs()
        ]

    def unsupervised(self) -> list[int]:
        """What lives on of this stack, by pid, although its supervisor has died: nothing there is started again."""
        return [] if self._supervisor.is_running() else leftovers(self.folder)

    def kill(self, role: str) -> None:
        """SIGKILL the program and its children; the supervisor starts it again."""
        self._signal(role, SIGKILL)

    def pause(self, role: str) -> None:
        """SIGSTOP the program and its children: they keep their connections and do not answer."""
        # A signal is acted on when its process next gets the processor; one sent meanwhile could come first.
        paused = self._signal(role, SIGSTOP)
        if not wait_until(lambda: all(stands_still(process) for process in paused), seconds=_STOP_SECONDS):
            raise DevservicesError(f"{role} got SIGSTOP and does not stop. See `ps` for what it waits for.")

    def resume(self, role: str) -> None:
        """SIGCONT what was paused."""
        self._signal(role, SIGCONT)

    def stop(self, role: str, signal: Signals = SIGKILL) -> None:
        """End the program until `start`: suddenly (SIGKILL), or in its orderly way (SIGTERM)."""
        if signal not in (SIGKILL, SIGTERM):
            raise ValueError("stop() knows SIGKILL (suddenly) and SIGTERM (in the orderly way)")
        if self._find(role).pid is None:
            return
        if signal == SIGTERM:
            self.resume(role)
            self._supervisor.stop(role)
            return
        # The supervisor must know that the end is wanted, and can only be told by asking it to
        # stop the program. Frozen, the program cannot act on that before it is killed.
        self.pause(role)
        self._supervisor.stop(role, wait=False)
        self.kill(role)
        self._wait_stopped([role])

    def start(self, role: str) -> None:
        """Start what was stopped; returns at once, see `wait_ready`."""
        self._supervisor.start_program(role)

    def restart(self, role: str) -> None:
        """Stop in the orderly way and start again; returns at once, see `wait_ready`."""
        self.stop(role, SIGTERM)
        self.start(role)

    def wait_ready(self, role: str, timeout: float = READY_SECONDS) -> None:
        """Wait until the server answers: a query, PING, or (a broker) the cluster's metadata.

        Raises DevservicesError with the end of its log after `timeout` seconds.
        """
        self._servers().wait_ready(role, timeout)

    def down(self, *, remove: bool = False) -> None:
        """End everything this folder ever started; with `remove`, delete folder and data too.

        Programs are stopped before servers, in their orderly way; but servers whose data is about
        to be deleted are killed. Right in any state, also after a crash, also when nothing runs.
        """
        if not self.folder.exists():
            end_leftovers(self.folder)
            return
        with self._locked():
            if self._supervisor.is_running():
                running = {one.role for one in self._supervisor.programs() if one.pid}
                self._stop_together(running.difference(SERVER_ROLES))
                if not remove:
                    self._stop_together(running.intersection(SERVER_ROLES))
            end_leftovers(self.folder)
            self._supervisor.forget()
            if remove:
                self._remove()

    def _stop_together(self, roles: set[str]) -> None:
        for role in roles:
            # A paused program would not see that it should stop.
            self.resume(role)
            self._supervisor.stop(role, wait=False)
        self._wait_stopped(roles)

    def _wait_stopped(self, roles: set[str] | list[str]) -> None:
        # The supervisor sends SIGKILL after each program's stop_seconds.
        ended = wait_until(lambda: all(self._find(role).pid is None for role in roles), seconds=_STOP_SECONDS)
        if not ended:
            raise DevservicesError(
                f"Not all of {', '.join(sorted(roles))} end, although they were killed. "
                "See `ps` for what they wait for, and run `python -m devservices down` again."
            )

    def _remove(self) -> None:
        state = State.load(self.folder)
        if state and state.outside and Path(state.outside).exists():  # gone already after a removal that was killed
            shutil.rmtree(state.outside)
        shutil.rmtree(self.folder)

    def _servers(self) -> Servers:
        state = State.load(self.folder)
        if state is None:
            raise DevservicesError(
                f"No stack was ever started in {self.folder}. "
                "Run `python -m devservices up`, with --folder for another place."
            )
        return Servers(self.folder, state, self._supervisor)

    def _find(self, role: str) -> Supervised:
        for one in self._supervisor.programs():
            if one.role == role:
                return one
        raise DevservicesError(f"No program {role!r} was added to the stack in {self.folder}.")

    def _signal(self, role: str, signal: Signals) -> list[psutil.Process]:
        """Send it to the program and its children, and return them."""
        reached = []
        for process in self._tree(role):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal)
                reached.append(process)
        if not reached:
            raise DevservicesError(f"{role} does not run, so it got no {signal.name}.")
        return reached

    def _tree(self, role: str) -> list[psutil.Process]:
        try:
            pid = self._find(role).pid
            return tree(psutil.Process(pid)) if pid else []
        except psutil.NoSuchProcess:  # it ended, and the supervisor has not noticed yet
            return []

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One `up` or `down` of a folder at a time, across processes."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _state_of(one: Supervised) -> str:
    try:
        if one.pid and psutil.Process(one.pid).status() == psutil.STATUS_STOPPED:
            return "paused"
    except psutil.NoSuchProcess:
        return one.state
    return one.state
