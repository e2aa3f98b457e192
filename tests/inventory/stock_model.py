"""What must be true of orders and stock, in plain Python: the model that the real thing is held against.

It knows the rules (one effect a message, each stream in its order, a dead letter holds up its stream) and nothing
of how they are kept: no transaction, no lock, no constraint.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True)
class Message:
    """A written message: `order` is its key, `kind` what it says."""

    message_id: UUID
    order: UUID
    sequence: int
    kind: str


@dataclass
class ConsumerModel:
    """A consumer's memory. `effect` is what the domain does with a message; it is called at most once for each."""

    effect: Callable[[Message], None]
    breaks: Callable[[Message], bool]
    in_order: Callable[[list[Message]], list[Message]] = field(default=lambda batch: batch)
    taken: set[UUID] = field(default_factory=set)
    position: dict[UUID, int] = field(default_factory=dict)
    parked: dict[tuple[UUID, int], Message] = field(default_factory=dict)
    dead: dict[UUID, Message] = field(default_factory=dict)

    def deliver(self, batch: list[Message]) -> None:
        """All of them at once; one by one when that fails for one."""
        fresh = [m for place, m in enumerate(batch) if m.message_id not in self.taken and m not in batch[:place]]
        if any(self.breaks(message) for message in self._ready(fresh)):
            for message in fresh:
                self._take([message])
        else:
            self._take(fresh)

    def replay(self, message: Message) -> bool:
        """An operator's second chance. False when it fails again, and then nothing has changed."""
        if self.breaks(message):
            return False
        del self.dead[message.message_id]
        self._handle([message])
        return True

    def _ready(self, fresh: list[Message]) -> list[Message]:
        """What is next in its stream, counting on the others of the batch."""
        at = dict(self.position)
        ready = []
        for message in fresh:
            if message.sequence == at.get(message.order, 0) + 1:
                at[message.order] = message.sequence
                ready.append(message)
        return ready

    def _take(self, fresh: list[Message]) -> None:
        self.taken |= {message.message_id for message in fresh}
        ready = self._ready(fresh)
        for message in fresh:
            if message not in ready:
                self.parked[message.order, message.sequence] = message
        if any(self.breaks(message) for message in ready):
            self.dead |= {message.message_id: message for message in ready}
        else:
            self._handle(ready)

    def _handle(self, ready: list[Message]) -> None:
        for message in self.in_order(ready):
            self._apply(message)
        waiting = deque(ready)
        while waiting:
            last = waiting.popleft()
            successor = self.parked.pop((last.order, last.sequence + 1), None)
            if successor is None or self.position[last.order] != last.sequence:
                continue
            if self.breaks(successor):
                self.dead[successor.message_id] = successor
            else:
                self._apply(successor)
                waiting.append(successor)

    def _apply(self, message: Message) -> None:
        self.position[message.order] = message.sequence
        self.effect(message)


@dataclass
class StockModel:
    """Stock on hand and the ledger, as orders' messages and hands move them."""

    on_hand: dict[str, int]
    lines: dict[UUID, dict[str, int]] = field(default_factory=dict)
    ledger: dict[tuple[UUID, str, str], int] = field(default_factory=dict)
    replies: list[tuple[UUID, str]] = field(default_factory=list)

    def apply(self, message: Message) -> None:
        wanted = self.lines[message.order]
        if message.kind == "placed":
            enough = all(self.on_hand.get(sku, -1) >= quantity for sku, quantity in wanted.items())
            self.replies.append((message.order, "reserved" if enough else "rejected"))
            if enough:
                self._move(message.order, "reserve", {sku: -quantity for sku, quantity in wanted.items()})
        elif (message.order, "reserved") in self.replies:
            self.replies.append((message.order, "released"))
            self._move(message.order, "release", wanted)

    def adjust(self, sku: str, quantity: int) -> bool:
        if self.on_hand[sku] + quantity < 0:
            return False
        self.on_hand[sku] += quantity
        return True

    def _move(self, order: UUID, kind: str, quantities: dict[str, int]) -> None:
        for sku, quantity in quantities.items():
            assert (order, sku, kind) not in self.ledger
            self.ledger[order, sku, kind] = quantity
            self.on_hand[sku] += quantity


def placed_first(batch: list[Message]) -> list[Message]:
    """Inventory handles a batch's new orders before its cancellations: allowed, since each order is placed first."""
    return sorted(batch, key=lambda message: message.kind != "placed")


@dataclass
class OrdersModel:
    """Each order's status, as inventory's replies move it."""

    status: dict[UUID, str] = field(default_factory=dict)

    def apply(self, message: Message) -> None:
        before, after = {
            "reserved": ("pending", "confirmed"),
            "rejected": ("pending", "rejected"),
            "released": ("confirmed", "cancelled"),
        }[message.kind]
        assert self.status[message.order] == before
        self.status[message.order] = after
