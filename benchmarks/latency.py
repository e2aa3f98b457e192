"""From the answer of the POST to the committed stock, with the whole system running, at a steady rate."""

import http.client
import json
import os
import statistics
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psutil
from django.db import connection, connections

from benchmarks.group import skip_to_the_end
from benchmarks.result import Row, at_least, at_most
from demo import proof, system
from devservices import Stack
from messaging.store.kafka import admin_client

# Brokers that have just started run three times slower: their code is compiled while they work.
RATE, SECONDS, WARM_UP_SECONDS, CLIENTS = 200, 90, 20, 4


def run(stack: Stack) -> list[Row]:
    _note_commit_times(stack)
    skip_to_the_end("inventory", "orders.events")
    stack.add(system.programs(stack, system.settings(stack)))
    _wait_until_ready()
    _drive(WARM_UP_SECONDS)
    before = _memory(stack)
    answered, rate = _drive(SECONDS)
    since = time.time() + 60
    while proof._not_final(proof.database_now().replace(year=2000)) and time.time() < since:
        time.sleep(0.2)
    after = _memory(stack)
    latencies = sorted(_latencies(answered))
    for role in before:
        stack.stop(role)
    p50, p99 = statistics.median(latencies), latencies[int(len(latencies) * 0.99)]
    what = f"POST answered → stock committed, {rate:.0f} orders/s"
    # At a lower rate than that, which the clients fall back to when the system cannot follow, it is another figure.
    asked = at_least(round(0.95 * RATE), rate)
    return [
        Row(f"{what}, p50", f"{p50:.1f} ms", "", "", at_most(25, p50, "ms") & asked),
        Row(f"{what}, p99", f"{p99:.1f} ms", "", "", at_most(100, p99, "ms") & asked),
        *(
            Row(
                f"memory of {role}, largest process",
                f"{after[role]:.0f} MiB",
                f"after the warm-up: {before[role]:.0f} MiB",
                f"{after[role] / before[role]:.2f}",
                at_most(200, after[role], "MiB") & at_most(1.1, after[role] / before[role]),
            )
            for role in sorted(after)
        ),
    ]


def _note_commit_times(stack: Stack) -> None:
    """Let PostgreSQL keep each transaction's commit time: a row's default is its statement's, which is earlier."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER SYSTEM SET track_commit_timestamp = on")
    connections.close_all()
    stack.restart("postgres")
    stack.wait_ready("postgres")


def _wait_until_ready() -> None:
    admin = admin_client()
    deadline = time.monotonic() + 90
    while not proof.flow_is_ready(admin):
        assert time.monotonic() < deadline, "relay and consumers do not start; see the logs"
        time.sleep(0.2)


def _drive(seconds: int) -> tuple[dict[str, float], float]:
    """When each order's POST was answered, by the wall clock, which is also the database's; and how many a second."""
    answered: dict[str, float] = {}
    start = time.monotonic() + 0.5
    with ThreadPoolExecutor(CLIENTS) as pool:
        # A client that fails raises here: a row of fewer orders would look better than it is.
        list(pool.map(lambda number: _client(number, seconds, start, answered), range(CLIENTS)))
    moments = answered.values()
    return answered, (len(answered) - 1) / (max(moments) - min(moments))


def _client(number: int, seconds: int, start: float, answered: dict[str, float]) -> None:
    host = urlsplit(os.environ["API_URL"]).netloc
    client = http.client.HTTPConnection(host, timeout=30)
    headers = {"Authorization": f"Bearer {os.environ['API_TOKEN']}", "Content-Type": "application/json"}
    for turn in range(number, RATE * seconds, CLIENTS):
        due = start + turn / RATE
        time.sleep(max(0.0, due - time.monotonic()))
        body = json.dumps({"lines": [{"sku": f"SKU-{turn % 20 + 1:04}", "quantity": 1}]})
        client.request("POST", "/api/orders", body, headers | {"Idempotency-Key": uuid.uuid4().hex})
        response = client.getresponse()
        answer = json.loads(response.read())
        assert response.status == 201, answer
        answered[answer["id"]] = time.time()


def _latencies(answered: dict[str, float]) -> list[float]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT order_id::text, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float
            FROM inventory_stockmovement WHERE kind = 'reserve'
            """
        )
        committed = dict(cursor.fetchall())
    return [(committed[order_id] - at) * 1000 for order_id, at in answered.items()]


def _memory(stack: Stack) -> dict[str, float]:
    """Resident MiB of the largest process of each Python role."""
    roles = {"web", "beat", "worker", "consume-inventory", "consume-orders"}
    found = {}
    for process in stack.processes():
        if process.role in roles and process.pid:
            parent = psutil.Process(process.pid)
            family = [parent, *parent.children(recursive=True)]
            found[process.role] = max(one.memory_info().rss for one in family) / 2**20
    return found
