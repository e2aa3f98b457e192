"""Faults of what wakes the relay up: Redis and Celery beat."""

from dataclasses import replace

import redis

from faults.fault import Fault, always, pausing, stopping
from faults.system import NOTHING_HURT, System

ROLE = "redis"
BEAT = "beat"
SECOND_BEAT = "beat-second"


def _client(system: System) -> "redis.Redis":
    return redis.Redis.from_url(system.stack.env()["REDIS_URL"], socket_timeout=2, socket_connect_timeout=2)


def _flush(system: System) -> str:
    try:
        with _client(system) as client:
            client.flushall()
    except redis.RedisError as error:
        return f"FLUSHALL: {NOTHING_HURT}, Redis does not answer: {error}"
    return "FLUSHALL"


def _kill_clients(system: System) -> str:
    try:
        with _client(system) as client:
            killed = sum(int(client.client_kill_filter(_type=kind)) for kind in ("normal", "pubsub"))
    except redis.RedisError as error:
        return f"CLIENT KILL: {NOTHING_HURT}, Redis does not answer: {error}"
    return f"CLIENT KILL: {killed} connections"


def _add_beat(system: System) -> str:
    system.stack.add([replace(system.program(BEAT), role=SECOND_BEAT)])
    system.remember("beat-twice", [SECOND_BEAT])
    return "a second beat runs"


def _end_second_beat(system: System) -> None:
    for role in system.take_hurt_by("beat-twice"):
        system.stop(role)


FAULTS = [
    Fault("redis-flush", "FLUSHALL.", "beat's next tick", _flush),
    Fault(
        "redis-kill-clients",
        "Every connection to Redis is closed, every second.",
        "clients connect again",
        _kill_clients,
        seconds=10,
        every=1,
    ),
    Fault("redis-kill", "SIGKILL to Redis.", "the supervisor starts it again", lambda system: system.kill(ROLE)),
    pausing("redis-pause", "SIGSTOP to Redis.", "SIGCONT", always(ROLE)),
    stopping("redis-down", "Redis is killed and stays down.", "it is started", always(ROLE)),
    stopping("beat-stop", "Beat is stopped: no more ticks.", "it is started", always(BEAT), orderly=True),
    pausing("beat-pause", "SIGSTOP to beat.", "SIGCONT: it is late with many ticks", always(BEAT)),
    Fault(
        "beat-twice",
        "A second beat doubles every tick.",
        "the second one is killed",
        _add_beat,
        _end_second_beat,
        seconds=20,
    ),
]
