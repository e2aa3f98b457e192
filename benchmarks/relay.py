"""The relay's drain of a backlog, against a naive relay and the bare producer; its fetch, with a history behind it."""

import statistics
import threading
import time
from functools import partial
from uuid import uuid4

from django.db import connection

from benchmarks.history import empty, settle, vacuum
from benchmarks.relay_rivals import PAYLOAD, TOPIC, bare_producer, naive_relay
from benchmarks.result import Row, at_least, milliseconds, no_growth, per_second
from benchmarks.turns import take_turns
from devservices import Stack
from messaging.produce import queue
from messaging.produce.relay import PAGE, Relay
from messaging.produce.shards import SHARDS, shard_of

MESSAGES = 100_000
NAIVE = {100: 15_000, 1000: 50_000}  # rows at a time: messages a turn, about as many seconds as ours takes
HISTORY = 1_000_000  # settled messages
FETCHES = 25


def run(stack: Stack) -> list[Row]:
    _warm_up()
    return [*_drains(), _fetches()]


def _drains() -> list[Row]:
    naive = {
        f"naive relay, {batch:,} rows at a time, drain of {messages:,}": partial(
            naive_relay, messages=messages, batch=batch
        )
        for batch, messages in NAIVE.items()
    }
    rate = take_turns({"ours": _ours, "bare": partial(bare_producer, messages=MESSAGES), **naive})
    what, ours, bare = f"relay, drain of {MESSAGES:,}", rate["ours"], rate["bare"]
    return [
        *(
            Row(
                what,
                per_second(ours),
                f"{name}: {per_second(rate[name])}",
                f"{ours / rate[name]:.1f}",
                at_least(3, ours / rate[name]),
            )
            for name in naive
        ),
        Row(what, per_second(ours), f"bare producer: {per_second(bare)}", f"{ours / bare:.2f}"),
    ]


def _warm_up() -> None:
    _fill(20_000)
    _drain()
    empty()


def _ours() -> float:
    _fill(MESSAGES)
    started = time.perf_counter()
    _drain()
    elapsed = time.perf_counter() - started
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM outbox_receipt")
        assert cursor.fetchone()[0] == MESSAGES
    empty()
    return MESSAGES / elapsed


def _drain() -> None:
    relay, stop = Relay(), threading.Event()
    thread = threading.Thread(target=lambda: relay.shift(seconds=3600, stop=stop))
    thread.start()
    # Asked often, so it must cost nothing: to count the queue would take a core's fifth from the relay.
    while _anything_pending():
        time.sleep(0.02)
    stop.set()
    thread.join()


def _anything_pending() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM outbox_pending)")
        pending: bool = cursor.fetchone()[0]
        return pending


def _fill(count: int) -> None:
    keys = [str(uuid4()) for _ in range(count)]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH written AS (
                INSERT INTO outbox_message
                    (message_id, message_type, source, topic, partition_key, sequence, payload, traceparent)
                SELECT gen_random_uuid(), 'bench.filler.v1', 'bench', %(topic)s, key, 1, %(payload)s, NULL
                FROM unnest(%(keys)s::text[]) AS key RETURNING id, partition_key
            )
            INSERT INTO outbox_pending (outbox_id, shard)
            SELECT id, shard
            FROM written JOIN unnest(%(keys)s::text[], %(shards)s::int[]) AS place (key, shard) ON key = partition_key
            """,
            {"topic": TOPIC, "payload": PAYLOAD, "keys": keys, "shards": [shard_of(key) for key in keys]},
        )
        cursor.execute("ANALYZE outbox_message, outbox_pending")


def _fetches() -> Row:
    short = _fetch_seconds()
    empty()
    settle(HISTORY)
    vacuum()
    long = _fetch_seconds()
    empty()
    return Row(
        f"relay, fetch of {PAGE:,} with {HISTORY:,} settled messages behind it",
        milliseconds(long),
        f"without history: {milliseconds(short)}",
        f"{long / short:.2f}",
        no_growth(long / short),
    )


def _fetch_seconds() -> float:
    """Of a page, while as many again wait behind it; the median of some."""
    _fill(2 * PAGE)
    seconds = []
    for _ in range(FETCHES):
        started = time.perf_counter()
        page = queue.fetch(shards=range(SHARDS), except_ids=[], after=0, limit=PAGE)
        seconds.append(time.perf_counter() - started)
        assert len(page) == PAGE
    return statistics.median(seconds)
