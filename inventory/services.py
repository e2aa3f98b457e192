"""What can be done with stock: reserve for orders, release, adjust by hand.

Pillar 3 in one statement: `_MOVE` writes the ledger, whose unique constraint refuses what is there
already, and moves the stock by exactly the rows that were really written.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F

from inventory.errors import InventoryError, OutOfRange, StockChanged, UnknownSku
from inventory.models import StockItem, StockMovement

Kind = StockMovement.Kind
MOST_ON_HAND = 2**31 - 1  # what the column holds


@dataclass(frozen=True, slots=True)
class Wanted:
    """An order's lines: how many of each SKU."""

    order_id: UUID
    quantities: Mapping[str, int]


def reserve(orders: Sequence[Wanted]) -> dict[UUID, str]:
    """Deduct each order's lines, all or nothing, in the order given.

    Returns the reason for each order that was rejected. Needs a transaction.
    """
    on_hand = _lock_stock({sku for order in orders for sku in order.quantities})
    rejected: dict[UUID, str] = {}
    moves: list[tuple[UUID, str, int]] = []
    for order in orders:
        short = _first_short(on_hand, order.quantities)
        if short:
            rejected[order.order_id] = short
            continue
        for sku, quantity in order.quantities.items():
            on_hand[sku] -= quantity
            moves.append((order.order_id, sku, -quantity))
    if moves:
        _move(Kind.RESERVE, moves)
    return rejected


def release(order_ids: Sequence[UUID]) -> set[UUID]:
    """Put back what these orders had reserved. Returns those that had reserved anything.

    Needs a transaction.
    """
    reserved = StockMovement.objects.filter(order_id__in=order_ids, kind=Kind.RESERVE)
    moves = [(row.order_id, row.item_id, -row.quantity) for row in reserved if row.order_id]
    if moves:
        _lock_stock({sku for _, sku, _ in moves})
        _move(Kind.RELEASE, moves)
    return {order_id for order_id, _, _ in moves}


def adjust(*, sku: str, quantity: int, seen_version: int, reason: str = "") -> None:
    """Add `quantity` (which may be negative) to the stock, by optimistic locking.

    A sum overwrites nobody's change. The version protects the decision: who counted at `seen_version` must count again
    if the stock moved since, and every reservation and release raises the version.

    Raises StockChanged when the item is no longer at `seen_version`: read it again and decide anew.
    Raises UnknownSku, and OutOfRange when less than nothing or more than a column holds would be left.
    """
    with transaction.atomic():
        # The condition and the change are one statement: of two that saw the same version, one finds no row.
        changed = StockItem.objects.filter(
            sku=sku, version=seen_version, on_hand__gte=-quantity, on_hand__lte=MOST_ON_HAND - quantity
        ).update(on_hand=F("on_hand") + quantity, version=F("version") + 1)
        if not changed:
            raise _refusal(sku, quantity, seen_version)
        StockMovement.objects.create(item_id=sku, kind=Kind.ADJUST, quantity=quantity, reason=reason)


def _refusal(sku: str, quantity: int, seen_version: int) -> InventoryError:
    item = StockItem.objects.filter(sku=sku).first()
    if item is None:
        return UnknownSku(f"there is no SKU {sku}")
    if item.version != seen_version:
        return StockChanged(f"the stock of {sku} changed since version {seen_version}, it is at {item.version} now")
    return OutOfRange(
        f"{item.on_hand} of {sku} on hand: {item.on_hand + quantity} would be left, not 0 to {MOST_ON_HAND}"
    )


def _lock_stock(skus: Iterable[str]) -> dict[str, int]:
    """What is on hand of each SKU, locked until the transaction ends.

    In sorted order, so that no two calls deadlock. Reserve and release lock separately within one batch, so two
    batches still can, and the loser runs again.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sku, on_hand FROM inventory_stockitem WHERE sku = ANY(%s) ORDER BY sku FOR UPDATE",
            [sorted(skus)],
        )
        return dict(cursor.fetchall())


def _first_short(on_hand: Mapping[str, int], quantities: Mapping[str, int]) -> str | None:
    for sku, quantity in quantities.items():
        if sku not in on_hand:
            return f"unknown SKU {sku}"
        if on_hand[sku] < quantity:
            return f"{quantity} of {sku} wanted, {on_hand[sku]} on hand"
    return None


def _move(kind: Kind, moves: Sequence[tuple[UUID, str, int]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            _MOVE,
            {
                "kind": kind,
                "orders": [order_id for order_id, _, _ in moves],
                "skus": [sku for _, sku, _ in moves],
                "quantities": [quantity for _, _, quantity in moves],
            },
        )


_MOVE = """
    WITH moved AS (
        INSERT INTO inventory_stockmovement (order_id, sku, kind, quantity)
        SELECT order_id, sku, %(kind)s, quantity
        FROM unnest(%(orders)s::uuid[], %(skus)s::text[], %(quantities)s::int[]) AS line (order_id, sku, quantity)
        ON CONFLICT (order_id, sku, kind) DO NOTHING
        RETURNING sku, quantity
    )
    UPDATE inventory_stockitem item SET on_hand = on_hand + delta.quantity, version = version + 1
    FROM (SELECT sku, sum(quantity) AS quantity FROM moved GROUP BY sku) AS delta
    WHERE item.sku = delta.sku
"""
