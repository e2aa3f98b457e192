"""The run: load and faults, heal, drain, check. Works in the stack that `devservices exec --proxied` brought up."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import django
import psycopg
import redis

from devservices import Stack
from devservices.jars import kafka_version
from faults.chaos import schedule
from faults.chaos.figures import sum_up, timeline
from faults.chaos.log_looks import LogLooks
from faults.chaos.nemesis import Done, Nemesis
from faults.chaos.report import Run
from faults.chaos.watch import Watch
from faults.checker import check
from faults.load import SKUS, SteadyLoad
from faults.log import unread
from faults.network import POSTGRES, broker_proxies
from faults.proxy import Proxy
from faults.servers import heal_all
from faults.shop import Shop, wait_for
from faults.system import System

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 90
DRAIN_SECONDS = 180
ON_HAND = 500_000  # of each SKU: more than a day's run can order, and less than a greedy order asks for
# … but of these, which orders race for: they run out, and are brought again.
SCARCE = SKUS[-3:]
SCARCE_ON_HAND = 40

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. `rate` is in orders a second, `seconds` how long faults are injected, `only` the kinds,
    if not all."""

    seed: int
    seconds: float
    per_minute: float
    rate: float
    clients: int
    only: Sequence[str] = ()


def run(plan: Plan, *, tell: Tell, on_fault: Callable[[Done], None]) -> Run:
    """The whole run; its report says whether all holds. The servers are those of DEVSERVICES_FOLDER."""
    stack = Stack(Path(os.environ["DEVSERVICES_FOLDER"]))
    direct = stack.env()["DATABASE_URL"]
    proxies = broker_proxies(stack) | {POSTGRES: Proxy(urlsplit(direct).port or 5432)}
    try:
        return _run(plan, stack, proxies, tell=tell, on_fault=on_fault)
    finally:
        for proxy in proxies.values():
            proxy.close()


def _run(plan: Plan, stack: Stack, proxies: dict[str, Proxy], *, tell: Tell, on_fault: Callable[[Done], None]) -> Run:
    direct = stack.env()["DATABASE_URL"]
    shop = Shop(stack, {"DATABASE_URL": _through(direct, proxies[POSTGRES])}, celery=True)
    system = System(stack, direct, shop.programs(), proxies)
    _prepare(shop, direct)
    tell("web, beat, worker and two consumers start")
    shop.start()
    wait_for(lambda: _is_ready(shop), seconds=READY_SECONDS, what="the application is ready; see the logs")

    from faults.chaos.adjust import Adjuster  # noqa: PLC0415  (after Django is set up)

    planned = schedule.draw(seed=plan.seed, seconds=plan.seconds, per_minute=plan.per_minute, only=plan.only)
    load = SteadyLoad(
        shop.env["API_URL"], shop.env["API_TOKEN"],
        rate=plan.rate, clients=plan.clients, seed=plan.seed, scarce=SCARCE,
    )  # fmt: skip
    adjuster, watch, log_looks = Adjuster(plan.seed, SCARCE), Watch(system), LogLooks(direct, system.brokers)
    nemesis = Nemesis(system, shop, planned, log_looks)
    started, started_at = time.monotonic(), _clock(direct)
    tell(f"{len(planned)} faults in {plan.seconds:.0f} s, {plan.rate:.0f} orders a second")
    load.start()
    adjuster.start()
    watch.start()
    try:
        nemesis.run(on_fault, started=started)
    finally:
        tell("heal: everything that was hurt comes back")
        heal_all(system)
        healed_at = time.monotonic()
        seen_by_clients = load.stop()
        adjuster.stop()
    tell("drain: until every order is final")
    drained = _drain(direct, system.brokers(), tell)
    drain_seconds = time.monotonic() - healed_at
    seen = watch.stop()
    verdict = check(
        database_url=direct,
        bootstrap_servers=system.brokers(),
        accepted=seen_by_clients.accepted.keys(),
        asked=seen_by_clients.accepted,
        cancelled=seen_by_clients.cancelled,
        affordable=seen_by_clients.affordable,
        keys=seen_by_clients.keys,
        adjustments=(adjuster.done, adjuster.done + adjuster.unsure),
        lost_until=log_looks.lost_until,
        groups_at_the_end=True,
    )
    line = timeline(direct, started_at)
    counts = verdict.counts | {
        "leader_changes": seen.leader_changes,
        "tried": len(seen_by_clients.keys),
        "unsure": seen_by_clients.unsure,
        "given_up": seen_by_clients.given_up,
        "adjustments_beaten": adjuster.beaten,
        "drained": drained,
        "log_looks": log_looks.looks,
        "log_looks_blind": log_looks.blind,
        "held_before_losses": len(log_looks.held),
    }
    figures = sum_up(
        faults=nemesis.done, line=line, counts=counts, logs=stack.folder / "logs", drain_seconds=drain_seconds
    )
    shop.stop()
    return Run(
        seed=plan.seed,
        seconds=plan.seconds,
        per_minute=plan.per_minute,
        rate=plan.rate,
        faults=nemesis.done,
        line=line,
        seen=seen,
        figures=figures,
        verdict=verdict,
        servers=_servers(direct, stack),
        only=plan.only,
        failures=[*seen_by_clients.failures, *adjuster.failures],
        missing=log_looks.missing,
    )


def _prepare(shop: Shop, direct: str) -> None:
    """Tables, topics, stock and the client's token; and Django in this process, past the proxy."""
    env = {**os.environ, **shop.env, "DATABASE_URL": direct}
    for command in (["migrate", "--verbosity", "0"], ["ensure_topics", "--wait"]):
        subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "manage.py", *command], cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL
        )
    os.environ.update({**shop.env, "DATABASE_URL": direct, "LOG_LEVEL": "ERROR"})
    django.setup()

    from inventory.models import StockItem  # noqa: PLC0415
    from orders.models import ApiClient  # noqa: PLC0415

    digest = hashlib.sha256(shop.env["API_TOKEN"].encode()).hexdigest()
    ApiClient.objects.create(name="chaos", token_sha256=digest)
    on_hand = {sku: SCARCE_ON_HAND if sku in SCARCE else ON_HAND for sku in SKUS}
    StockItem.objects.bulk_create(StockItem(sku=sku, initial=on_hand[sku], on_hand=on_hand[sku]) for sku in SKUS)


def _is_ready(shop: Shop) -> bool:
    from demo.proof import flow_is_ready  # noqa: PLC0415
    from messaging.store.kafka import admin_client  # noqa: PLC0415

    return shop.answers() and flow_is_ready(admin_client())


def _drain(database_url: str, brokers: str, tell: Tell) -> bool:
    """Wait until nothing travels; False when that takes too long. What Kafka lost is put back by beat meanwhile."""
    deadline, said = time.monotonic() + DRAIN_SECONDS, time.monotonic()
    while waiting := _waiting(database_url) or list(unread(brokers)):
        if time.monotonic() > deadline:
            return False
        if time.monotonic() - said > 5:
            said = time.monotonic()
            tell(f"{waiting} orders and messages are on their way" if isinstance(waiting, int) else f"unread {waiting}")
        time.sleep(0.2)
    return True


def _waiting(database_url: str) -> int:
    with psycopg.connect(database_url) as db:
        (waiting,) = db.execute(_WAITING).fetchone() or (0,)
        return int(waiting)


_WAITING = """
    SELECT (SELECT count(*) FROM outbox_pending) + (SELECT count(*) FROM parked_message)
         + (SELECT count(*) FROM orders_order WHERE status = 'pending'
            OR (status = 'confirmed' AND cancel_requested_at IS NOT NULL))
         -- The last reply of a cancelled order and the like: acknowledged, and not taken yet.
         + (SELECT count(*) FROM outbox_receipt r JOIN outbox_message m ON m.id = r.outbox_id
            WHERE NOT EXISTS (SELECT FROM processed_message p WHERE p.message_id = m.message_id))
"""


def _through(url: str, proxy: Proxy) -> str:
    port = urlsplit(url).port
    return url.replace(f":{port}/", f":{proxy.port}/")


def _clock(database_url: str) -> float:
    with psycopg.connect(database_url) as db:
        (now,) = db.execute("SELECT extract(epoch FROM clock_timestamp())::float").fetchone() or (0.0,)
        return float(now)


def _servers(database_url: str, stack: Stack) -> dict[str, str]:
    with psycopg.connect(database_url) as db:
        (postgres,) = db.execute("SHOW server_version").fetchone() or ("",)
    with redis.Redis.from_url(stack.env()["REDIS_URL"]) as broker:
        about = broker.info("server")
    return {
        "PostgreSQL": str(postgres).split()[0],
        "Kafka": kafka_version(),
        "Valkey": about.get("valkey_version") or f"(Redis) {about['redis_version']}",
    }
