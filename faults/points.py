"""Every seam of the product between two steps, where a process, a connection or a server can end.

A point is a function of the product: `before` it, `after` it, and where a server's answer can be lost
also `lost` (the function ran, its caller sees an error). Tests hit each with every action that makes
sense there; `docs/failure-windows.md` is written from the windows that the points open.
"""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """A kind of process of the product."""

    WEB = "web"
    RELAY = "relay"
    INVENTORY = "consume-inventory"
    ORDERS = "consume-orders"
    OPERATOR = "operator"  # one command of `manage.py`, run by hand or by beat; or one page of the admin


class When(StrEnum):
    BEFORE = "before"
    AFTER = "after"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Point:
    """`target` is `module:attribute` as its caller looks it up. `window` is the row of docs/failure-windows.md.

    `skips_empty`: a call that brought nothing is no window. `rare`: orders alone do not pass it, something must
    come beside (a broken record, a change of the group, an operator); a random run does not wait for that.
    """

    name: str
    target: str
    roles: tuple[Role, ...]
    whens: tuple[When, ...]
    window: str
    skips_empty: bool = False
    rare: bool = False


_AFTER = (When.AFTER,)
_BOTH = (When.BEFORE, When.AFTER)
_ALL = (When.BEFORE, When.AFTER, When.LOST)
_CONSUMERS = (Role.INVENTORY, Role.ORDERS)
_NOTE = "django.contrib.admin.options:ModelAdmin.log_change"
_COMMIT = "django.db.backends.postgresql.base:DatabaseWrapper._commit"

POINTS: tuple[Point, ...] = (
    # The API
    Point("api.place", "orders.services:place_order", (Role.WEB,), _BOTH, "W3"),
    Point("api.cancel", "orders.services:cancel_order", (Role.WEB,), _BOTH, "W3"),
    Point("api.order", "orders.services:_write", (Role.WEB,), _AFTER, "W1"),
    Point("api.message", "messaging.produce.outbox:append", (Role.WEB,), _BOTH, "W1"),
    Point("api.commit", _COMMIT, (Role.WEB,), _ALL, "W2"),
    # The relay
    Point("relay.claim", "messaging.produce.lease:hold", (Role.RELAY,), _ALL, "W11"),
    Point("relay.fetch", "messaging.produce.queue:fetch", (Role.RELAY,), _BOTH, "W7", skips_empty=True),
    Point("relay.publish", "messaging.produce.publisher:Publisher.publish", (Role.RELAY,), _BOTH, "W8"),
    Point("relay.collect", "messaging.produce.publisher:Publisher.collect", (Role.RELAY,), _BOTH, "W8"),
    Point("relay.settle", "messaging.produce.queue:settle", (Role.RELAY,), _ALL, "W9"),
    Point("relay.park", "messaging.produce.queue:park", (Role.RELAY,), _ALL, "W13", rare=True),
    Point("relay.release", "messaging.produce.lease:release", (Role.RELAY,), _ALL, "W37"),
    # The consumers: inventory and, on the reply's way, orders
    Point("consume.read", "messaging.consume.reader:Reader.next_batch", _CONSUMERS, _AFTER, "W15", skips_empty=True),
    Point("consume.inbox", "messaging.consume.inbox:take", _CONSUMERS, _BOTH, "W15"),
    Point("consume.order", "messaging.consume.key_order:admit", _CONSUMERS, _AFTER, "W15"),
    Point("consume.stock", "inventory.services:_move", (Role.INVENTORY,), _BOTH, "W15"),
    Point("consume.status", "orders.replies:_move", (Role.ORDERS,), _BOTH, "W15"),
    Point("consume.reply", "inventory.reservations:append_all", (Role.INVENTORY,), _BOTH, "W15"),
    Point("consume.position", "messaging.consume.key_order:advance", _CONSUMERS, _BOTH, "W15"),
    Point("consume.commit", _COMMIT, _CONSUMERS, _ALL, "W17"),
    Point("consume.offsets", "messaging.consume.reader:Reader._commit", _CONSUMERS, _BOTH, "W16"),
    Point("consume.bury", "messaging.consume.dead_letters:_insert", _CONSUMERS, _BOTH, "W38", rare=True),
    Point("consume.revoke", "messaging.consume.reader:Reader._on_revoke", _CONSUMERS, _BOTH, "W39", rare=True),
    # The operator's commands and pages
    Point("replay.handle", "messaging.consume.replay:hand_over", (Role.OPERATOR,), _BOTH, "W25", rare=True),
    Point("replay.commit", _COMMIT, (Role.OPERATOR,), _ALL, "W25", rare=True),
    Point("admin.replay", "messaging.admin.dead_letters:replay", (Role.OPERATOR,), _BOTH, "W47", rare=True),
    Point("admin.unpark", "messaging.admin.outbox:unpark", (Role.OPERATOR,), _BOTH, "W47", rare=True),
    Point("admin.note", _NOTE, (Role.OPERATOR,), _BOTH, "W47", rare=True),
    Point("admin.commit", _COMMIT, (Role.OPERATOR,), _ALL, "W47", rare=True),
    Point("repair.requeue", "messaging.produce.queue:requeue", (Role.OPERATOR,), _BOTH, "W34", rare=True),
    Point("repair.commit", _COMMIT, (Role.OPERATOR,), _ALL, "W34", rare=True),
    Point("audit.mark", "messaging.prove.watermark:advance", (Role.OPERATOR,), _ALL, "W35"),
    Point("prune.batch", "messaging.prove.retention:_remove_batch", (Role.OPERATOR,), _ALL, "W36", rare=True),
)


def point(name: str) -> Point:
    """Raises KeyError for a name that is none."""
    return {one.name: one for one in POINTS}[name]
