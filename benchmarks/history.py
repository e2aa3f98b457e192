"""A history of orders that are done with, as long as a benchmark wants it, and a queue behind it."""

from django.db import connection, transaction

SKU = "BENCH-0"  # one of the five that the history's orders are spread over
ORDERS_AT_ONCE = 100_000  # a statement; the database's time-out ends longer ones


def settle(messages: int) -> None:
    """Orders that are confirmed, two messages each: placed and reserved, acknowledged, taken by their consumers.

    All that the audit reads is there: lines, ledger and stock, receipts and inbox. An odd message is left out.
    """
    left = messages // 2
    while left:
        orders = min(left, ORDERS_AT_ONCE)
        with transaction.atomic(), connection.cursor() as cursor:
            # Foreign keys are right by how this is written, and to check them would take as long as to write.
            cursor.execute("SET LOCAL session_replication_role = replica")
            cursor.execute(_SETTLED, {"orders": orders})
        left -= orders


# Ids as the product makes them, UUIDv7: random ones would cost the indexes more than orders do.
_SETTLED = """
    WITH new AS MATERIALIZED (
        SELECT uuidv7() AS order_id, 'BENCH-' || n %% 5 AS sku
        FROM generate_series(1, %(orders)s::int) AS n
    ), placed AS (
        INSERT INTO orders_order (id, client_id, status, version, rejection_reason, decided_at)
        SELECT order_id, (SELECT min(id) FROM api_client), 'confirmed', 1, '', now() FROM new
    ), lines AS (
        INSERT INTO orders_orderline (order_id, sku, quantity) SELECT order_id, sku, 1 FROM new
    ), stock AS (
        INSERT INTO inventory_stockitem AS item (sku, initial, on_hand, version)
        SELECT sku, count(*), 0, 1 FROM new GROUP BY sku
        ON CONFLICT (sku) DO UPDATE SET initial = item.initial + excluded.initial
    ), ledger AS (
        INSERT INTO inventory_stockmovement (order_id, sku, kind, quantity) SELECT order_id, sku, 'reserve', -1 FROM new
    ), written AS (
        INSERT INTO outbox_message
            (message_id, message_type, source, topic, partition_key, sequence, payload, traceparent)
        SELECT uuidv7(), message.type, message.source, message.topic, order_id::text, 1,
               CASE message.source
                   WHEN 'orders' THEN format('{"order_id":"%%s","lines":[{"sku":"%%s","quantity":1}]}', order_id, sku)
                   ELSE format('{"order_id":"%%s"}', order_id)
               END, NULL
        FROM new CROSS JOIN (VALUES
            ('orders.order_placed.v1', 'orders', 'orders.events'),
            ('inventory.stock_reserved.v1', 'inventory', 'inventory.events')
        ) AS message (type, source, topic)
        RETURNING *
    ), receipts AS (
        INSERT INTO outbox_receipt (outbox_id, partition, "offset") SELECT id, 0, id FROM written
    )
    INSERT INTO processed_message
        (consumer, message_id, message_type, source, partition_key, sequence, topic, partition, "offset",
         payload_sha256)
    SELECT CASE source WHEN 'orders' THEN 'inventory' ELSE 'orders' END, message_id, message_type, source,
           partition_key, 1, topic, 0, id, encode(sha256(payload::bytea), 'hex')
    FROM written
"""


def wait(messages: int, *, parked: int = 0) -> None:
    """Messages that wait for the relay, so many of them put aside."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH written AS (
                INSERT INTO outbox_message
                    (message_id, message_type, source, topic, partition_key, sequence, payload, traceparent)
                SELECT uuidv7(), 'bench.waiting.v1', 'bench', 'orders.events', uuidv7()::text, 1,
                       '{"filler":"x"}', NULL
                FROM generate_series(1, %(messages)s::int) RETURNING id
            )
            INSERT INTO outbox_pending (outbox_id, shard, parked_at)
            SELECT id, 0, CASE WHEN row_number() OVER (ORDER BY id) <= %(parked)s THEN now() END FROM written
            """,
            {"messages": messages, "parked": parked},
        )


def vacuum() -> None:
    """What autovacuum would do in its time: it has nothing to do then while a benchmark measures."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def empty() -> None:
    """Forget every order, message and movement; the stock is as it was."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            TRUNCATE orders_order, orders_orderline, idempotency_key, inventory_stockmovement,
                     outbox_message, outbox_pending, outbox_receipt, repaired_message,
                     processed_message, key_position, parked_message, dead_letter, audit_mark
            """
        )
        cursor.execute("DELETE FROM inventory_stockitem WHERE sku LIKE 'BENCH-%'")
        cursor.execute("UPDATE inventory_stockitem SET on_hand = initial")
