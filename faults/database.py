"""Faults of PostgreSQL."""

import os
from signal import SIGQUIT

import psycopg

from faults.fault import Fault, always, pausing, stopping
from faults.system import NOTHING_HURT, System

ROLE = "postgres"
_TERMINATE = """
    SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


def _terminate_backends(system: System) -> str:
    try:
        with psycopg.connect(system.database_url, connect_timeout=2, autocommit=True) as connection:
            (count,) = connection.execute(_TERMINATE).fetchone() or (0,)
    except psycopg.OperationalError as error:
        return f"pg_terminate_backend: {NOTHING_HURT}, PostgreSQL does not answer: {error}"
    return f"{count} backends terminated"


def _restart_at_once(system: System) -> str:
    if (pid := system.process(ROLE).pid) is None:
        return f"pg_ctl stop -m immediate: {NOTHING_HURT}, PostgreSQL does not run"
    os.kill(pid, SIGQUIT)
    return "PostgreSQL shut down as by `pg_ctl stop -m immediate`"


FAULTS = [
    Fault(
        "postgres-terminate-backends",
        "The backend of every connection is terminated, every 2 seconds.",
        "clients connect again",
        _terminate_backends,
        seconds=10,
        every=2,
    ),
    Fault(
        "postgres-restart-immediate",
        "SIGQUIT to the postmaster: no checkpoint, no good-bye.",
        "the supervisor starts it again, and it recovers from its log",
        _restart_at_once,
    ),
    Fault(
        "postgres-kill",
        "SIGKILL to PostgreSQL and its backends.",
        "the supervisor starts it again, and it recovers from its log",
        lambda system: system.kill(ROLE),
    ),
    pausing("postgres-pause", "SIGSTOP to PostgreSQL and its backends.", "SIGCONT", always(ROLE)),
    stopping("postgres-down", "PostgreSQL is killed and stays down.", "it is started", always(ROLE)),
]
