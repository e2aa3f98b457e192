"""What is known of a message or an order, everywhere: the first thing to read when the checker is red."""

from collections import defaultdict
from collections.abc import Collection
from typing import Any

import psycopg

from faults import log

Database = psycopg.Connection[dict[str, Any]]


def histories(db: Database, ids: Collection[str], servers: str) -> dict[str, list[str]]:
    """What each table and the log know of the messages and orders concerned, in the order of the flow.

    Each table and the log are read once, however many ids there are.
    """
    if not ids:
        return {}
    order_of = {row["id"]: row["key"] for row in db.execute(_ORDERS, [list(ids)])}
    # An order's id is its own.
    keys = {id_: order_of.get(id_, id_) for id_ in ids}
    concerned = list(set(keys.values()))
    steps: dict[str, list[str]] = defaultdict(list)
    for what in _FLOW:
        rows = _in_log(db, concerned, servers) if what == "log" else db.execute(_TABLES[what], [concerned])
        for row in rows:
            steps[row.pop("key")].append(f"{what}: {', '.join(f'{name} {value}' for name, value in row.items())}")
    return {id_: steps[key] for id_, key in keys.items()}


def _in_log(db: Database, keys: list[str], servers: str) -> list[dict[str, Any]]:
    key_of = {row["id"]: row["key"] for row in db.execute(_MESSAGES, [keys])}
    return [
        {"key": key_of[id_], "message_id": id_, "topic": topic, "partition": partition, "offset": offset}
        for id_, places in log.places(key_of, servers).items()
        for topic, partition, offset in places
    ]


_ORDERS = "SELECT message_id::text AS id, partition_key AS key FROM outbox_message WHERE message_id::text = ANY(%s)"
_MESSAGES = """
    SELECT message_id::text AS id, partition_key AS key FROM outbox_message WHERE partition_key = ANY(%s) ORDER BY id"""
_FLOW = ("order", "outbox", "log", "inbox", "parked", "dead letter", "ledger")
_TABLES = {
    "order": """
        SELECT id::text AS key, status, version, created_at, decided_at
        FROM orders_order WHERE id::text = ANY(%s)""",
    "outbox": """
        SELECT m.partition_key AS key, m.message_id, m.source, m.sequence, m.message_type, r.partition, r."offset",
               r.acknowledged_at, p.outbox_id IS NOT NULL AS pending
        FROM outbox_message m LEFT JOIN outbox_receipt r ON r.outbox_id = m.id
        LEFT JOIN outbox_pending p ON p.outbox_id = m.id WHERE m.partition_key = ANY(%s) ORDER BY m.id""",
    "inbox": """
        SELECT partition_key AS key, consumer, message_id, sequence, partition, "offset", processed_at, redeliveries
        FROM processed_message WHERE partition_key = ANY(%s) ORDER BY id""",
    "parked": """
        SELECT partition_key AS key, consumer, message_id, sequence
        FROM parked_message WHERE partition_key = ANY(%s)""",
    "dead letter": """
        SELECT partition_key AS key, consumer, message_id, reason, left(detail, 200) AS detail, resolved_at
        FROM dead_letter WHERE partition_key = ANY(%s)""",
    "ledger": """
        SELECT order_id::text AS key, kind, sku, quantity, created_at FROM inventory_stockmovement
        WHERE order_id::text = ANY(%s) ORDER BY id""",
}
