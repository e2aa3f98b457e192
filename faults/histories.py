"""What is known of a message or an order, everywhere: the first thing to read when the checker is red."""

from collections.abc import Collection
from typing import Any

import psycopg

from faults import log

Database = psycopg.Connection[dict[str, Any]]


def histories(db: Database, ids: Collection[str], servers: str) -> dict[str, list[str]]:
    """What each table and the log know of the messages and orders concerned, in the order of the flow."""
    keys = {id_: _key_of(db, id_) for id_ in ids}
    rows = db.execute(_MESSAGES, [list(keys.values())]).fetchall() if keys else []
    in_log = log.places([row["id"] for row in rows], servers) if rows else {}
    known = {}
    for id_, key in keys.items():
        steps = {table: [_in_words(row) for row in db.execute(sql, {"key": key})] for table, sql in _HISTORIES.items()}
        steps["log"] = [
            f"message_id {row['id']}, topic {topic}, partition {partition}, offset {offset}"
            for row in rows
            if row["partition_key"] == key
            for topic, partition, offset in in_log[row["id"]]
        ]
        known[id_] = [f"{table}: {step}" for table in _FLOW for step in steps[table]]
    return known


def _in_words(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items())


def _key_of(db: Database, id_: str) -> str:
    """The order of a message; an order's id is its own."""
    row = db.execute("SELECT partition_key FROM outbox_message WHERE message_id::text = %s", [id_]).fetchone()
    return str(row["partition_key"]) if row else id_


_FLOW = ("order", "outbox", "log", "inbox", "parked", "dead letter", "ledger")
_MESSAGES = "SELECT message_id::text AS id, partition_key FROM outbox_message WHERE partition_key = ANY(%s)"
_HISTORIES = {
    "order": "SELECT status, version, created_at, decided_at FROM orders_order WHERE id::text = %(key)s",
    "outbox": """
        SELECT m.message_id, m.source, m.sequence, m.message_type, r.partition, r."offset", r.acknowledged_at,
               p.outbox_id IS NOT NULL AS pending
        FROM outbox_message m LEFT JOIN outbox_receipt r ON r.outbox_id = m.id
        LEFT JOIN outbox_pending p ON p.outbox_id = m.id WHERE m.partition_key = %(key)s ORDER BY m.id""",
    "inbox": """
        SELECT consumer, message_id, sequence, partition, "offset", processed_at, redeliveries
        FROM processed_message WHERE partition_key = %(key)s ORDER BY id""",
    "parked": "SELECT consumer, message_id, sequence FROM parked_message WHERE partition_key = %(key)s",
    "dead letter": """
        SELECT consumer, message_id, reason, left(detail, 200) AS detail, resolved_at
        FROM dead_letter WHERE partition_key = %(key)s""",
    "ledger": """
        SELECT kind, sku, quantity, created_at FROM inventory_stockmovement
        WHERE order_id::text = %(key)s ORDER BY id""",
}
