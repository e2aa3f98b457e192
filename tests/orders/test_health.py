"""/livez and /readyz tell an orchestrator the truth."""

import json
from collections.abc import Iterator

import pytest
from django.db import connection
from django.test import Client

from tests.api_tools import problem_of


@pytest.fixture
def a_migration_is_missing(committed_db: None) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'orders' AND name = '0001_initial'")
    yield
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('orders', '0001_initial', now())")


class TestReadyz:
    def test_is_ok_on_a_migrated_database(self, committed_db: None) -> None:
        response = Client().get("/readyz")

        assert response.status_code == 200
        assert json.loads(response.content) == {"status": "ok"}

    def test_asks_for_a_missing_migration(self, a_migration_is_missing: None) -> None:
        response = Client().get("/readyz")

        assert problem_of(response) == (503, "not-migrated")
        assert "manage.py migrate" in json.loads(response.content)["detail"]


class TestLivez:
    def test_asks_no_database(self) -> None:
        # Without a database fixture, pytest-django forbids every query.
        assert Client().get("/livez").status_code == 200
