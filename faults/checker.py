"""The checker: I1 to I12 from outside, by plain SQL and by reading Kafka's log.

It imports nothing of the product on purpose: a bug in the product's own audit must not hide here too.
It knows the tables and the headers on the wire, as any other program would that reads them.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import psycopg
from psycopg.rows import dict_row

from faults import log
from faults.histories import Database, histories

Place = tuple[str, int, int]  # topic, partition, offset
Lost = Mapping[str, datetime]  # topic -> until when records of it were made to vanish, by the database's clock


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
    asked: Mapping[str, Mapping[str, int]] | None = None,
    cancelled: Collection[str] = (),
    affordable: Collection[str] = (),
    keys: Collection[str] | None = None,
    adjustments: tuple[int, int] | None = None,
    broken: Collection[Place] = (),
    lost_until: Lost | None = None,
    groups_at_the_end: bool = False,
) -> Verdict:
    """Everything that must hold once all has healed and drained.

    `accepted` are the orders that were answered with 201, `asked` is what they asked for by SKU, `cancelled` are those
    whose cancellation was answered with 202, `affordable` those of which there was always enough in stock. `keys` is
    every Idempotency-Key that was ever tried, `adjustments` how many of the stock were answered, and how many were
    asked for; `broken` is where the records stand that were broken on purpose. With `groups_at_the_end` each group
    must have committed that it has read everything. Raises LogUnreadable.

    `lost_until` are the topics whose records somebody made Kafka lose, and until when. A record may be gone
    from there if its message was written before that and its consumer has taken it. Which records those
    were, only the log could say, and they are no longer in it; when a message was acknowledged is known by
    the time of its receipt, which a stalled relay writes late. The time of writing is never late, so what
    was written after the last loss must be there.
    """
    with psycopg.connect(database_url, row_factory=dict_row) as db:
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        violations = [v for name, sql in _SQL for v in _violations(db, name, sql)]
        known = {str(row["id"]) for row in db.execute("SELECT id FROM orders_order")}
        violations += [Violation("I1", id_, "answered with 201 and not there") for id_ in accepted if id_ not in known]
        violations += _not_as_asked(db, asked or {})
        violations += _not_as_answered(db, cancelled, affordable)
        if keys is not None:
            strangers = db.execute("SELECT key AS id FROM idempotency_key WHERE key <> ALL(%s)", [list(keys)])
            violations += [Violation("I6", row["id"], "an order of a key that nobody tried") for row in strangers]
        violations += _wrongly_dead(db, broken)
        counts = {key: int(value) for key, value in (db.execute(_COUNTS).fetchone() or {}).items()}
        receipts = db.execute(_RECEIPTS).fetchall()
        gone = log.not_there(receipts, bootstrap_servers)
        missing = [
            _not_in_the_log(row) for row in gone if not (row["taken"] and _may_have_vanished(row, lost_until or {}))
        ]
        violations += missing
        if groups_at_the_end:
            violations += [Violation("I7", place, what) for place, what in log.unread(bootstrap_servers)]
        if adjustments and not adjustments[0] <= counts["adjusted"] <= adjustments[1]:
            answered, wanted = adjustments
            what = f"{answered} adjustments were answered of {wanted}, the ledger has {counts['adjusted']}"
            violations.append(Violation("I1" if counts["adjusted"] < answered else "I2", "the ledger", what))
        counts |= {"in_log": len(receipts) - len(gone), "gone_from_log_after_use": len(gone) - len(missing)}
        return Verdict(violations, counts, histories(db, {v.id for v in violations}, bootstrap_servers))


def look_into_the_log(
    *, database_url: str, bootstrap_servers: str, lost_until: Lost, patience: float
) -> tuple[set[str], list[Violation]]:
    """The messages that the log holds where they were acknowledged, and those that it lacks: I8 at any moment.

    For just before a loss: afterwards nobody can say what the log held. What an earlier loss may have taken is not
    asked for, whether its consumer has it or still waits for the repair. Raises LogUnreadable after `patience` seconds
    of silence.
    """
    with psycopg.connect(database_url, row_factory=dict_row) as db:
        receipts = db.execute(_RECEIPTS).fetchall()
    gone = log.not_there(receipts, bootstrap_servers, patience=patience)
    held = {row["id"] for row in receipts} - {row["id"] for row in gone}
    return held, [_not_in_the_log(row) for row in gone if not _may_have_vanished(row, lost_until)]


def _not_in_the_log(row: log.Receipt) -> Violation:
    return Violation("I8", row["id"], "the log does not hold it at {topic}[{partition}]@{offset}".format(**row))


def _may_have_vanished(row: log.Receipt, lost_until: Lost) -> bool:
    return row["topic"] in lost_until and row["created_at"] < lost_until[row["topic"]]


def _not_as_asked(db: Database, asked: Mapping[str, Mapping[str, int]]) -> Iterator[Violation]:
    """Orders whose lines are not those that the client sent."""
    for row in db.execute(
        """
        SELECT o.id, coalesce(jsonb_object_agg(l.sku, l.quantity) FILTER (WHERE l.sku IS NOT NULL), '{}') AS lines
        FROM orders_order o LEFT JOIN orders_orderline l ON l.order_id = o.id GROUP BY o.id
        """
    ):
        wanted = asked.get(str(row["id"]), row["lines"])
        if row["lines"] != wanted:
            yield Violation("I1", str(row["id"]), f"asked for {dict(wanted)}, and its lines are {row['lines']}")


def _not_as_answered(db: Database, cancelled: Collection[str], affordable: Collection[str]) -> Iterator[Violation]:
    """Orders that a client was told, or could rely on, to end otherwise."""
    ended = "SELECT id FROM orders_order WHERE status = %s AND id = ANY(%s::uuid[])"
    for row in db.execute(ended, ["confirmed", list(cancelled)]):
        yield Violation("I1", str(row["id"]), "its cancellation was answered with 202, and it is confirmed")
    for row in db.execute(ended, ["rejected", list(affordable)]):
        yield Violation("I9", str(row["id"]), "rejected, though there was enough in stock")


def _wrongly_dead(db: Database, broken: Collection[Place]) -> Iterator[Violation]:
    """One dead letter for each record that was broken on purpose, and none besides."""
    letters = db.execute('SELECT id, topic, partition, "offset", reason FROM dead_letter WHERE resolved_at IS NULL')
    at: dict[Place, list[str]] = {place: [] for place in broken}
    for row in letters:
        at.setdefault((row["topic"], row["partition"], row["offset"]), []).append(f"{row['id']} ({row['reason']})")
    for place, found in at.items():
        wanted = int(place in broken)
        if len(found) != wanted:
            where = "{}[{}]@{}".format(*place)
            yield Violation("I12", where, f"{wanted} was broken on purpose there, dead letters: {found or 'none'}")


def _violations(db: Database, name: str, sql: str) -> Iterator[Violation]:
    for row in db.execute(sql):
        yield Violation(name, str(row["id"]), row["what"])


# Each returns the ids for which the invariant does not hold.
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
    ("I2", """
        SELECT p.message_id AS id, p.consumer || ' took ' || p.message_type || ', which nobody wrote' AS what
        FROM processed_message p
        WHERE NOT EXISTS (SELECT FROM outbox_message m WHERE m.message_id = p.message_id)
        AND NOT EXISTS (SELECT FROM dead_letter d WHERE d.message_id = p.message_id AND d.consumer = p.consumer)"""),
    ("I3", """
        SELECT order_id AS id, count(*) || ' rows of ' || kind || ' ' || sku AS what FROM inventory_stockmovement
        WHERE order_id IS NOT NULL GROUP BY order_id, sku, kind HAVING count(*) > 1"""),
    ("I4", """
        SELECT i.sku AS id, 'initial ' || i.initial || ' + ledger ' || coalesce(sum(m.quantity), 0)
               || ' is not on hand ' || i.on_hand AS what
        FROM inventory_stockitem i LEFT JOIN inventory_stockmovement m ON m.sku = i.sku GROUP BY i.sku
        HAVING i.on_hand < 0 OR i.initial + coalesce(sum(m.quantity), 0) <> i.on_hand"""),
    ("I5", """
        SELECT p.partition_key AS id, p.consumer || ' is at ' || coalesce(k.last_sequence, 0) || ' of ' || p.source
               || ' and took ' || array_agg(p.sequence ORDER BY p.sequence)::text AS what
        FROM processed_message p LEFT JOIN key_position k USING (consumer, source, partition_key)
        WHERE NOT EXISTS (SELECT FROM dead_letter d WHERE d.message_id = p.message_id
                          AND d.consumer = p.consumer AND d.resolved_at IS NULL)
        GROUP BY p.partition_key, p.consumer, p.source, k.last_sequence
        HAVING array_agg(p.sequence::int ORDER BY p.sequence)
               <> ARRAY(SELECT generate_series(1, coalesce(k.last_sequence, 0)::int))"""),
    # That all of 1..n were applied says nothing of their order, and the inbox cannot say it: a message that
    # came early has its row at once, and is applied later. What stands in the order of application is its
    # effect: the ledger's rows and the replies, whose ids are drawn one after the other under the stream's lock.
    # The reply's side leaves no such trace: there the order's status must be the one of the last reply (I9, I11).
    ("I5", """
        SELECT order_id AS id, 'was put back in the ledger before it was deducted' AS what
        FROM inventory_stockmovement WHERE order_id IS NOT NULL GROUP BY order_id
        HAVING min(id) FILTER (WHERE kind = 'release') < max(id) FILTER (WHERE kind = 'reserve')"""),
    ("I5", """
        SELECT partition_key AS id, source || ' wrote ' || array_agg(sequence ORDER BY id)::text AS what
        FROM outbox_message GROUP BY partition_key, source
        HAVING array_agg(sequence ORDER BY id) <> array_agg(sequence ORDER BY sequence)"""),
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
           (SELECT count(*) FROM orders_order o WHERE status = 'rejected' AND NOT EXISTS (
               SELECT FROM orders_orderline l WHERE l.order_id = o.id AND l.quantity >= 1000000)) AS ran_short,
           (SELECT count(*) FROM orders_order WHERE status = 'cancelled') AS cancelled,
           (SELECT count(*) FROM outbox_message) AS written,
           (SELECT count(*) FROM outbox_receipt) AS acknowledged,
           (SELECT count(*) FROM processed_message) AS taken,
           (SELECT coalesce(sum(redeliveries), 0) FROM processed_message) AS redelivered,
           (SELECT count(*) FROM repaired_message) AS repaired,
           (SELECT count(*) FROM inventory_stockmovement WHERE kind = 'adjust') AS adjusted
"""

_RECEIPTS = """
    SELECT m.topic, r.partition, r."offset", m.message_id::text AS id, m.created_at,
           encode(sha256(convert_to(m.payload, 'UTF8')), 'hex') AS digest,
           EXISTS (SELECT FROM processed_message p WHERE p.message_id = m.message_id) AS taken
    FROM outbox_receipt r JOIN outbox_message m ON m.id = r.outbox_id
"""
