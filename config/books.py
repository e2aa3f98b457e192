"""The domain's books: does each order have exactly the stock effect that its status promises?

Only this package may look into orders and inventory together. Everything is read in the audit's snapshot.
"""

from typing import Any

from django.db import connection

from messaging.prove.audit import DomainBooks


def account() -> DomainBooks:
    """Counts of orders, and the ids of orders and SKUs that do not add up."""
    counts = dict(_rows(_COUNTS)[0])
    return DomainBooks(
        counts={name: int(value) for name, value in counts.items()},
        lost=[f"order {id_}: {what}" for id_, what in _pairs(_LOST)],
        extra=[f"order {id_}: {what}" for id_, what in _pairs(_EXTRA)],
        stuck=[f"order {id_}: {what}" for id_, what in _pairs(_NOT_FINAL)],
        stock_mismatches=[f"{sku}: {what}" for sku, what in _pairs(_STOCK)],
    )


def _rows(sql: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _pairs(sql: str) -> list[tuple[object, object]]:
    return [(row["id"], row["what"]) for row in _rows(sql)]


_FINAL = """(o.status IN ('rejected', 'cancelled') OR (o.status = 'confirmed' AND o.cancel_requested_at IS NULL))"""

_COUNTS = f"""
    SELECT count(*) AS accepted,
           count(*) FILTER (WHERE {_FINAL}) AS final,
           count(*) FILTER (WHERE {_FINAL} AND status = 'confirmed') AS confirmed,
           count(*) FILTER (WHERE status = 'rejected') AS rejected,
           count(*) FILTER (WHERE status = 'cancelled') AS cancelled
    FROM orders_order o
"""

_NOT_FINAL = f"SELECT o.id, 'is ' || o.status || ' and not final' AS what FROM orders_order o WHERE NOT {_FINAL}"

# What each final order's lines must have done to the stock, against what the ledger says they did.
_EXPECTED = f"""
    WITH expected AS (
        SELECT o.id AS order_id, l.sku, kind, CASE kind WHEN 'reserve' THEN -l.quantity ELSE l.quantity END AS quantity
        FROM orders_order o JOIN orders_orderline l ON l.order_id = o.id
             CROSS JOIN (VALUES ('reserve'), ('release')) AS kinds (kind)
        WHERE {_FINAL} AND ((o.status = 'confirmed' AND kind = 'reserve') OR o.status = 'cancelled')
    ), moved AS (
        SELECT m.order_id, m.sku, m.kind, m.quantity FROM inventory_stockmovement m
        LEFT JOIN orders_order o ON o.id = m.order_id
        WHERE m.order_id IS NOT NULL AND (o.id IS NULL OR {_FINAL})
    )
"""

_LOST = f"""
    {_EXPECTED}
    SELECT order_id AS id, kind || ' of ' || sku || ' is not in the ledger' AS what
    FROM (SELECT * FROM expected EXCEPT ALL SELECT * FROM moved) AS missing
    UNION ALL
    SELECT o.id, 'has no message in the outbox' FROM orders_order o
    WHERE NOT EXISTS (SELECT FROM outbox_message m WHERE m.partition_key = o.id::text
                      AND m.source = 'orders' AND m.sequence = 1)
"""

_EXTRA = f"""
    {_EXPECTED}
    SELECT order_id AS id, kind || ' of ' || sku || ' is in the ledger without reason' AS what
    FROM (SELECT * FROM moved EXCEPT ALL SELECT * FROM expected) AS surplus
"""

_STOCK = """
    SELECT i.sku AS id,
           format('initial %s + ledger %s is not on hand %s', i.initial, coalesce(m.total, 0), i.on_hand) AS what
    FROM inventory_stockitem i
    LEFT JOIN (SELECT sku, sum(quantity) AS total FROM inventory_stockmovement GROUP BY sku) AS m USING (sku)
    WHERE i.initial + coalesce(m.total, 0) <> i.on_hand OR i.on_hand < 0
"""
