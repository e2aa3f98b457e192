"""`/livez`: the process answers. `/readyz`: so does the database, and its schema is ours.

Kafka is not asked: while it is away orders are accepted all the same, and wait in the outbox.
"""

from django.db import Error as DatabaseError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse

from config.problems import database_away, problem


def livez(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest) -> HttpResponse:
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
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
