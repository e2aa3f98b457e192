"""The domain's books: does each order have exactly the stock effect that its status promises?

Only this package may look into orders and inventory together. Everything is read in the audit's snapshot.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import connection

from messaging.prove.report import DomainBooks
from messaging.prove.retention import surely_kept_days


def account(keys: Sequence[str] | None) -> DomainBooks:
    """Counts of orders, and the ids of orders and SKUs that do not add up.

    Only of the orders that these message keys name, of none for [] and of all for None: what no message has touched
    since the last time has not changed. The ledger is summed up only where all orders are asked for.
    """
    orders = None if keys is None else [key for key in keys if _is_uuid(key)]
    values = {"orders": orders, "kept_days": surely_kept_days()}
    return DomainBooks(
        counts={name: int(value) for name, value in _rows(_COUNTS, values)[0].items()},
        lost=[f"order {id_}: {what}" for id_, what in _pairs(_LOST, values)],
        extra=[f"order {id_}: {what}" for id_, what in _pairs(_EXTRA, values)],
        stuck=[f"order {id_}: {what}" for id_, what in _pairs(_NOT_FINAL, values)],
        stock_mismatches=[f"{sku}: {what}" for sku, what in _pairs(_STOCK, values)] if orders is None else [],
    )


def _is_uuid(key: str) -> bool:
    try:
        return str(UUID(key)) == key
    except ValueError:
        return False


def _rows(sql: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _pairs(sql: str, values: dict[str, Any]) -> list[tuple[object, object]]:
    return [(row["id"], row["what"]) for row in _rows(sql, values)]


# NULL asks for all orders. Planned anew for each call (force_custom_plan), so the planner sees which of the two it is.
_ASKED = "(%(orders)s::uuid[] IS NULL OR {id} = ANY(%(orders)s::uuid[]))"
_ASKED_ORDER = _ASKED.format(id="o.id")
_FINAL = "(o.status IN ('rejected', 'cancelled') OR (o.status = 'confirmed' AND o.cancel_requested_at IS NULL))"

_COUNTS = f"""
    SELECT count(*) AS accepted,
           count(*) FILTER (WHERE {_FINAL}) AS final,
           count(*) FILTER (WHERE {_FINAL} AND status = 'confirmed') AS confirmed,
           count(*) FILTER (WHERE status = 'rejected') AS rejected,
           count(*) FILTER (WHERE status = 'cancelled') AS cancelled
    FROM orders_order o WHERE {_ASKED_ORDER}
"""

_NOT_FINAL = f"""
    SELECT o.id, 'is ' || o.status || ' and not final' AS what
    FROM orders_order o WHERE NOT {_FINAL} AND {_ASKED_ORDER}
"""

# What each final order's lines must have done to the stock, against what the ledger says they did.
_EXPECTED = f"""
    WITH expected AS (
        SELECT o.id AS order_id, l.sku, kind, CASE kind WHEN 'reserve' THEN -l.quantity ELSE l.quantity END AS quantity
        FROM orders_order o JOIN orders_orderline l ON l.order_id = o.id
             CROSS JOIN (VALUES ('reserve'), ('release')) AS kinds (kind)
        WHERE {_FINAL} AND {_ASKED_ORDER}
          AND ((o.status = 'confirmed' AND kind = 'reserve') OR o.status = 'cancelled')
    ), moved AS (
        SELECT m.order_id, m.sku, m.kind, m.quantity FROM inventory_stockmovement m
        LEFT JOIN orders_order o ON o.id = m.order_id
        WHERE m.order_id IS NOT NULL AND (o.id IS NULL OR {_FINAL}) AND {_ASKED.format(id="m.order_id")}
    )
"""

# Messages younger than `kept_days` cannot have been pruned.
_LOST = f"""
    {_EXPECTED}
    SELECT order_id AS id, kind || ' of ' || sku || ' is not in the ledger' AS what
    FROM (SELECT * FROM expected EXCEPT ALL SELECT * FROM moved) AS missing
    UNION ALL
    SELECT o.id, 'has no message in the outbox' FROM orders_order o
    WHERE {_ASKED_ORDER} AND o.created_at > now() - %(kept_days)s * interval '1 day'
      AND NOT EXISTS (SELECT FROM outbox_message m WHERE m.partition_key = o.id::text
                      AND m.source = 'orders' AND m.sequence = 1)
    UNION ALL
    -- Each message is taken in the transaction of its effect, a reply or a new status: one is always on its way.
    SELECT o.id, 'is ' || o.status || ' and not final, and no message of it is on its way' FROM orders_order o
    WHERE NOT {_FINAL} AND {_ASKED_ORDER}
      AND NOT EXISTS (
        SELECT FROM outbox_message m WHERE m.partition_key = o.id::text
        AND (NOT EXISTS (SELECT FROM processed_message p WHERE p.message_id = m.message_id)
             OR EXISTS (SELECT FROM parked_message k WHERE k.message_id = m.message_id)
             OR EXISTS (SELECT FROM dead_letter d WHERE d.message_id = m.message_id AND d.resolved_at IS NULL))
      )
"""

_EXTRA = f"""
    {_EXPECTED}
    SELECT order_id AS id, kind || ' of ' || sku || ' is in the ledger without reason' AS what
    FROM (SELECT * FROM moved EXCEPT ALL SELECT * FROM expected) AS surplus
"""

_STOCK = """
    SELECT i.sku AS id,
           format('initial %%s + ledger %%s is not on hand %%s', i.initial, coalesce(m.total, 0), i.on_hand) AS what
    FROM inventory_stockitem i
    LEFT JOIN (SELECT sku, sum(quantity) AS total FROM inventory_stockmovement GROUP BY sku) AS m USING (sku)
    WHERE i.initial + coalesce(m.total, 0) <> i.on_hand OR i.on_hand < 0
"""
