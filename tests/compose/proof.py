"""`docker compose run --rm demo`, with the broker that leads killed in the middle."""

import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from tests.compose.engine import Compose

PROVEN = "lost 0, extra 0, stuck 0"
DEADLINE = 300.0


class NotProven(Exception):
    """The demo failed, or said something else than that nothing was lost."""


@dataclass(frozen=True)
class Demo:
    """A proof that runs in a container."""

    compose: Compose
    orders: int
    say: Callable[[str], None]

    def prove(self, *, kill_the_leader: bool) -> None:
        """Raises NotProven with all that the demo printed."""
        before = self._accepted()
        demo = self.compose.start("run", "--rm", "-T", "demo", "--orders", str(self.orders))
        printed: list[str] = []
        readers = [
            threading.Thread(target=_read, args=(stream, printed), daemon=True) for stream in (demo.stderr, demo.stdout)
        ]
        for reader in readers:
            reader.start()
        try:
            if kill_the_leader:
                self._kill_in_the_middle(demo, before)
            status = demo.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            status = -1
        finally:
            demo.kill()
            demo.wait()
            for reader in readers:
                reader.join(10)
        proof = [line for line in printed if line.startswith(("ok ", "NOT", "     ", "lost "))]
        for line in proof:
            self.say(line)
        if status != 0 or not proof or proof[-1] != PROVEN:
            raise NotProven(f"the demo ended with {status}\n" + "\n".join(printed))

    def _kill_in_the_middle(self, demo: "subprocess.Popen[str]", before: int) -> None:
        leader = self.compose.leader()
        while (placed := self._accepted() - before) < self.orders // 3:
            if demo.poll() is not None:
                return
            time.sleep(0.1)
        killed_at = time.monotonic()
        self.compose.kill(leader)
        self.say(f"killed {leader}, the leader of orders.events[0], after {placed} of {self.orders} orders")
        if placed >= self.orders:
            raise NotProven(f"the broker was killed too late: all {placed} orders were placed. Set a larger ORDERS.")
        while (successor := self.compose.leader()) in ("", leader):
            if time.monotonic() - killed_at > 60:
                raise NotProven(f"no other broker leads, 60 s after {leader} was killed")
            time.sleep(0.5)
        self.say(f"{successor} leads since {time.monotonic() - killed_at:.0f} s after; starting {leader} again")
        # By hand: the restart policy leaves alone what was killed by hand.
        self.compose.run("start", leader)

    def _accepted(self) -> int:
        return int(self.compose.query("SELECT count(*) FROM orders_order"))


def _read(stream: IO[str] | None, printed: list[str]) -> None:
    for line in stream or ():
        printed.append(line.rstrip("\n"))
