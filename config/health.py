"""`/livez`: the process answers. `/readyz`: so does the database, and its schema is ours.

Kafka is not asked: while it is away orders are accepted all the same, and wait in the outbox.
"""

from functools import cache

from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, JsonResponse

from config.problems import database_away, problem


def livez(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:
    try:
        missing = _our_migrations() - MigrationRecorder(connection).applied_migrations().keys()
    except DatabaseError:
        return database_away()
    if missing:
        return problem(
            503,
            "not-migrated",
            "The database's schema is old",
            f"{len(missing)} missing: run `manage.py migrate`.",
        )
    return JsonResponse({"status": "ok"})


@cache
def _our_migrations() -> frozenset[tuple[str, str]]:
    """App and name of every migration of this code, which does not change while the process lives."""
    return frozenset(MigrationLoader(None).disk_migrations)
