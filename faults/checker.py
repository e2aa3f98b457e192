"""The checker: I1 to I12 from outside, by plain SQL and by reading Kafka's log.

It imports nothing of the product on purpose: a bug in the product's own audit must not hide here too.
It knows the tables and the headers on the wire, as any other program would that reads them.
"""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
from confluent_kafka import Consumer, KafkaError, TopicPartition
from psycopg.rows import dict_row

Place = tuple[str, int, int]  # topic, partition, offset


@dataclass(frozen=True, slots=True)
class Violation:
    """One invariant that does not hold for one id."""

    invariant: str
    id: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.id}: {self.what}"


@dataclass(slots=True)
class Verdict:
    """What does not hold, and the numbers beside it."""

    violations: list[Violation]
    counts: dict[str, int]
    histories: dict[str, list[str]] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        return sum(v.invariant in ("I1", "I6", "I8") for v in self.violations)

    @property
    def extra(self) -> int:
        return sum(v.invariant in ("I2", "I3", "I4", "I5", "I9", "I10") for v in self.violations)

    @property
    def stuck(self) -> int:
        return sum(v.invariant in ("I7", "I11", "I12") for v in self.violations)

    def __str__(self) -> str:
        return f"lost {self.lost}, extra {self.extra}, stuck {self.stuck}"


def check(
    *,
    database_url: str,
    bootstrap_servers: str,
    accepted: Collection[str] = (),
    keys: Collection[str] | None = None,
    expected_dead: int = 0,
    kafka_may_lose: bool = False,
    groups_at_the_end: bool = False,
) -> Verdict:
    """Everything that must hold once all has healed and drained.

    `accepted` are the ids that were answered with 201, `keys` every Idempotency-Key that was ever tried,
    `expected_dead` the records that were broken on purpose. With `kafka_may_lose` a record may be gone
    from the log after its consumer had taken it. With `groups_at_the_end` each group must have committed
    that it has read everything.
    """
    with psycopg.connect(database_url, row_factory=dict_row) as db:
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        violations = [v for name, sql in _SQL for v in _violations(db, name, sql)]
        known = {str(row["id"]) for row in db.execute("SELECT id FROM orders_order")}
        violations += [Violation("I1", id_, "answered with 201 and not there") for id_ in accepted if id_ not in known]
        if keys is not None:
            strangers = db.execute("SELECT key AS id FROM idempotency_key WHERE key <> ALL(%s)", [list(keys)])
            violations += [Violation("I6", row["id"], "an order of a key that nobody tried") for row in strangers]
        dead = [row["id"] for row in db.execute("SELECT id FROM dead_letter WHERE resolved_at IS NULL")]
        if len(dead) != expected_dead:
            violations.append(Violation("I12", f"dead letters {dead}", f"{expected_dead} were broken on purpose"))
        counts = {key: int(value) for key, value in (db.execute(_COUNTS).fetchone() or {}).items()}
        in_log, missing = _compare(db.execute(_RECEIPTS).fetchall(), bootstrap_servers)
        if not kafka_may_lose:
            violations += missing
        if groups_at_the_end:
            violations += _unread(bootstrap_servers)
        counts |= {"in_log": in_log, "gone_from_log_after_use": len(missing)}
        verdict = Verdict(violations, counts)
        for violation in violations[:20]:
            verdict.histories[violation.id] = list(_history(db, violation.id))
        return verdict


def _violations(db: psycopg.Connection[dict[str, Any]], name: str, sql: str) -> Iterator[Violation]:
    for row in db.execute(sql):
        yield Violation(name, str(row["id"]), row["what"])


# Each answers with the ids for which the invariant does not hold.
_SQL = [
    ("I1", """
        SELECT o.id, 'confirmed, and ' || l.sku || ' was not deducted' AS what
        FROM orders_order o JOIN orders_orderline l ON l.order_id = o.id
        WHERE o.status IN ('confirmed', 'cancelled') AND NOT EXISTS (
            SELECT FROM inventory_stockmovement m WHERE m.order_id = o.id AND m.sku = l.sku
            AND m.kind = 'reserve' AND m.quantity = -l.quantity)"""),
    ("I1", """
        SELECT o.id, 'cancelled, and ' || l.sku || ' was not put back' AS what
        FROM orders_order o JOIN orders_orderline l ON l.order_id = o.id
        WHERE o.status = 'cancelled' AND NOT EXISTS (
            SELECT FROM inventory_stockmovement m WHERE m.order_id = o.id AND m.sku = l.sku
            AND m.kind = 'release' AND m.quantity = l.quantity)"""),
    ("I1", """
        SELECT o.id, 'the order has no message' AS what FROM orders_order o WHERE NOT EXISTS (
            SELECT FROM outbox_message m WHERE m.partition_key = o.id::text AND m.source = 'orders')"""),
    ("I1", """
        SELECT m.message_id AS id, m.message_type || ' is in no queue and has no receipt' AS what
        FROM outbox_message m WHERE NOT EXISTS (SELECT FROM outbox_pending p WHERE p.outbox_id = m.id)
        AND NOT EXISTS (SELECT FROM outbox_receipt r WHERE r.outbox_id = m.id)"""),
    ("I1", """
        SELECT m.message_id AS id, m.message_type || ' was acknowledged and never taken' AS what
        FROM outbox_message m JOIN outbox_receipt r ON r.outbox_id = m.id
        WHERE NOT EXISTS (SELECT FROM processed_message p WHERE p.message_id = m.message_id)
        AND NOT EXISTS (SELECT FROM dead_letter d WHERE d.message_id = m.message_id)"""),
    ("I2", """
        SELECT m.order_id AS id, m.kind || ' of ' || m.sku || ' for no such order or line' AS what
        FROM inventory_stockmovement m WHERE m.order_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM orders_orderline l WHERE l.order_id = m.order_id AND l.sku = m.sku)"""),
    ("I2", """
        SELECT o.id, 'rejected, and stock moved' AS what FROM orders_order o
        WHERE o.status = 'rejected' AND EXISTS (SELECT FROM inventory_stockmovement m WHERE m.order_id = o.id)"""),
    ("I2", """
        SELECT o.id, 'confirmed for good, and stock was put back' AS what FROM orders_order o
        WHERE o.status = 'confirmed' AND o.cancel_requested_at IS NULL AND EXISTS (
            SELECT FROM inventory_stockmovement m WHERE m.order_id = o.id AND m.kind = 'release')"""),
    ("I3", """
        SELECT order_id AS id, count(*) || ' rows of ' || kind || ' ' || sku AS what FROM inventory_stockmovement
        WHERE order_id IS NOT NULL GROUP BY order_id, sku, kind HAVING count(*) > 1"""),
    ("I4", """
        SELECT i.sku AS id, 'initial ' || i.initial || ' + ledger ' || coalesce(sum(m.quantity), 0)
               || ' is not on hand ' || i.on_hand AS what
        FROM inventory_stockitem i LEFT JOIN inventory_stockmovement m ON m.sku = i.sku GROUP BY i.sku
        HAVING i.on_hand < 0 OR i.initial + coalesce(sum(m.quantity), 0) <> i.on_hand"""),
    ("I5", """
        SELECT p.partition_key AS id, p.consumer || ' is at ' || k.last_sequence || ' of ' || p.source
               || ' and took ' || array_agg(p.sequence ORDER BY p.sequence)::text AS what
        FROM processed_message p JOIN key_position k USING (consumer, source, partition_key)
        WHERE NOT EXISTS (SELECT FROM dead_letter d WHERE d.message_id = p.message_id)
        GROUP BY p.partition_key, p.consumer, p.source, k.last_sequence
        HAVING array_agg(p.sequence::int ORDER BY p.sequence)
               <> ARRAY(SELECT generate_series(1, k.last_sequence::int))"""),
    ("I6", """
        SELECT key AS id, count(DISTINCT order_id) || ' orders of one key' AS what
        FROM idempotency_key GROUP BY client_id, key HAVING count(DISTINCT order_id) > 1"""),
    ("I6", """
        SELECT o.id, 'an order without a key' AS what FROM orders_order o
        WHERE NOT EXISTS (SELECT FROM idempotency_key k WHERE k.order_id = o.id)"""),
    ("I7", """
        SELECT m.message_id AS id, 'is still pending' AS what
        FROM outbox_pending p JOIN outbox_message m ON m.id = p.outbox_id"""),
    ("I7", "SELECT message_id AS id, 'is still parked at ' || consumer AS what FROM parked_message"),
    ("I9", """
        SELECT o.id, o.status || ', and its replies were ' || coalesce(r.types, 'none') AS what
        FROM orders_order o LEFT JOIN (
            SELECT partition_key, string_agg(split_part(message_type, '.', 2), ', ' ORDER BY sequence) AS types
            FROM outbox_message WHERE source = 'inventory' GROUP BY partition_key) AS r ON r.partition_key = o.id::text
        WHERE (o.status, coalesce(r.types, '')) NOT IN (
            ('pending', ''), ('pending', 'stock_reserved'), ('pending', 'stock_rejected'),
            ('pending', 'stock_reserved, stock_released'), ('confirmed', 'stock_reserved'),
            ('confirmed', 'stock_reserved, stock_released'), ('rejected', 'stock_rejected'),
            ('cancelled', 'stock_reserved, stock_released'))"""),
    ("I10", """
        SELECT partition_key AS id, count(*) || ' decisions' AS what FROM outbox_message
        WHERE message_type IN ('inventory.stock_reserved.v1', 'inventory.stock_rejected.v1')
        GROUP BY partition_key HAVING count(*) > 1"""),
    ("I11", """
        SELECT id, 'is ' || status || ' and not final' AS what FROM orders_order
        WHERE status = 'pending' OR (status = 'confirmed' AND cancel_requested_at IS NOT NULL)"""),
    ("I12", """
        SELECT m.message_id AS id, p.attempts || ' attempts: ' || p.last_error AS what
        FROM outbox_pending p JOIN outbox_message m ON m.id = p.outbox_id WHERE p.attempts > 0"""),
]  # fmt: skip

_COUNTS = """
    SELECT (SELECT count(*) FROM orders_order) AS accepted,
           (SELECT count(*) FROM orders_order WHERE status = 'confirmed') AS confirmed,
           (SELECT count(*) FROM orders_order WHERE status = 'rejected') AS rejected,
           (SELECT count(*) FROM orders_order WHERE status = 'cancelled') AS cancelled,
           (SELECT count(*) FROM outbox_message) AS written,
           (SELECT count(*) FROM outbox_receipt) AS acknowledged,
           (SELECT count(*) FROM processed_message) AS taken,
           (SELECT coalesce(sum(redeliveries), 0) FROM processed_message) AS redelivered,
           (SELECT count(*) FROM repaired_message) AS repaired,
           (SELECT count(*) FROM inventory_stockmovement WHERE kind = 'adjust') AS adjusted
"""

_RECEIPTS = """
    SELECT m.topic, r.partition, r."offset", m.message_id::text AS id,
           encode(sha256(convert_to(m.payload, 'UTF8')), 'hex') AS digest
    FROM outbox_receipt r JOIN outbox_message m ON m.id = r.outbox_id
"""


def _compare(receipts: list[dict[str, Any]], servers: str) -> tuple[int, list[Violation]]:
    """How many receipts the log confirms, and those that it does not (I8)."""
    # A topic that was made again counts its offsets anew: two receipts may name one place.
    wrong: dict[Place, list[dict[str, Any]]] = {}
    for row in receipts:
        wrong.setdefault((row["topic"], row["partition"], row["offset"]), []).append(row)
    for place, message_id, digest in _read_log({topic for topic, _, _ in wrong}, servers):
        rows = wrong.get(place, [])
        rows[:] = [row for row in rows if (row["id"], row["digest"]) != (message_id, digest)]
    missing = [
        Violation("I8", row["id"], f"the log does not hold it at {topic}[{part}]@{offset}")
        for (topic, part, offset), rows in wrong.items()
        for row in rows
    ]
    return len(receipts) - len(missing), missing


def _read_log(topics: Collection[str], servers: str) -> Iterator[tuple[Place, str, str]]:
    reader = Consumer({
        "bootstrap.servers": servers, "group.id": "checker", "enable.auto.commit": False,
        "enable.partition.eof": True, "auto.offset.reset": "earliest", "check.crcs": True, "log_level": 0,
    })  # fmt: skip
    try:
        metadata = reader.list_topics(timeout=30).topics
        open_ = {(topic, part) for topic in topics if topic in metadata for part in metadata[topic].partitions}
        reader.assign([TopicPartition(topic, part, 0) for topic, part in open_])
        while open_:
            for message in reader.consume(1000, 0.2):
                topic, partition = str(message.topic()), message.partition() or 0
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        open_.discard((topic, partition))
                    elif error.code() == KafkaError._BAD_COMPRESSION:  # nobody's message: go on behind it
                        reader.seek(TopicPartition(topic, partition, (message.offset() or 0) + 1))
                    continue
                headers: Any = message.headers() or []
                id_ = next(((value or b"").decode() for name, value in headers if name == "ce_id"), "")
                value = message.value()
                digest = hashlib.sha256(value if isinstance(value, bytes) else b"").hexdigest()
                yield (topic, partition, message.offset() or 0), id_, digest
    finally:
        reader.close()


_GROUPS = {"inventory": "orders.events", "orders": "inventory.events"}


def _unread(servers: str) -> Iterator[Violation]:
    """Partitions whose group has not committed their end: all of it would come again after a restart."""
    for group, topic in _GROUPS.items():
        reader = Consumer({"bootstrap.servers": servers, "group.id": group, "log_level": 0})
        try:
            parts = [TopicPartition(topic, part) for part in reader.list_topics(topic).topics[topic].partitions]
            for part in reader.committed(parts, timeout=30):
                low, high = reader.get_watermark_offsets(part, timeout=30)
                if high > max(low, part.offset):
                    what = f"{group} is at {part.offset}, the end is {high}"
                    yield Violation("I7", f"{topic}[{part.partition}]", what)
        finally:
            reader.close()


def _history(db: psycopg.Connection[dict[str, Any]], id_: str) -> Iterator[str]:
    """What each table knows of a message or an order, in the order of the flow."""
    key = db.execute("SELECT partition_key FROM outbox_message WHERE message_id::text = %s", [id_]).fetchone()
    order = key["partition_key"] if key else id_
    for table, sql in _HISTORIES.items():
        for row in db.execute(sql, {"order": order}):
            yield f"{table}: " + ", ".join(f"{name} {value}" for name, value in row.items())


_HISTORIES = {
    "order": "SELECT status, version, created_at, decided_at FROM orders_order WHERE id::text = %(order)s",
    "outbox": """
        SELECT m.message_id, m.source, m.sequence, m.message_type, r.partition, r."offset", r.acknowledged_at,
               p.outbox_id IS NOT NULL AS pending
        FROM outbox_message m LEFT JOIN outbox_receipt r ON r.outbox_id = m.id
        LEFT JOIN outbox_pending p ON p.outbox_id = m.id WHERE m.partition_key = %(order)s ORDER BY m.id""",
    "inbox": """
        SELECT consumer, message_id, sequence, partition, "offset", processed_at, redeliveries
        FROM processed_message WHERE partition_key = %(order)s ORDER BY id""",
    "parked": "SELECT consumer, message_id, sequence FROM parked_message WHERE partition_key = %(order)s",
    "dead letter": """
        SELECT consumer, message_id, reason, left(detail, 200) AS detail, resolved_at
        FROM dead_letter WHERE partition_key = %(order)s""",
    "ledger": """
        SELECT kind, sku, quantity, created_at FROM inventory_stockmovement
        WHERE order_id::text = %(order)s ORDER BY id""",
}
