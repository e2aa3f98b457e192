"""What every room of tests shares: real servers, and a clean start for each test.

The servers come from the environment: `make test` starts them with `python -m devservices exec`, and
any other PostgreSQL, three-broker Kafka and Redis will do (DATABASE_URL, KAFKA_BOOTSTRAP_SERVERS,
CELERY_BROKER_URL).
"""

import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import redis
from confluent_kafka.admin import AdminClient
from django.conf import settings
from django.contrib.contenttypes.management import create_contenttypes
from django.core.management import call_command
from django.db import connection
from django.db.backends.postgresql.operations import DatabaseOperations
from django.db.models.signals import post_migrate
from django.test.utils import setup_databases, teardown_databases
from pytest_django import DjangoDbBlocker

from devservices import Stack
from messaging.models import RelayShard
from messaging.produce.shards import SHARDS
from messaging.registry import topics as declared_topics
from messaging.store.kafka import admin_client
from messaging.store.topics import create, missing, wait_for_brokers
from tests.flow_tools import Flow, skip_what_the_log_holds
from tests.process_tools import Processes

# What Django writes after `migrate`, and the admin needs.
WRITTEN_ONCE = {"django_content_type", "auth_permission"}


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> None:
    """The test database. A flush between two tests, of which there are a thousand, costs a tenth of Django's own: it
    keeps content types and permissions, as they are in production, and empties the tables that have rows, where
    TRUNCATE writes new files for all tables and indexes."""
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    post_migrate.disconnect(create_contenttypes)

    def sql_flush(self: DatabaseOperations, style: object, tables: Sequence[str], **options: bool) -> list[str]:
        looks = [f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name})" for name in tables if name not in WRITTEN_ONCE]
        with self.connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(looks))
            # In one transaction, at whose end foreign keys are checked: their order does not matter.
            return [f"DELETE FROM {name}" for (name,) in cursor.fetchall()]

    # On the class: under Playwright's event loop Django opens a connection of its own.
    DatabaseOperations.sql_flush = sql_flush


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The servers that `make test` started: these tests kill and pause them."""
    if "DEVSERVICES_FOLDER" not in os.environ:
        pytest.skip("kills servers that it started itself: run `make test-faults`")
    return Stack(Path(os.environ["DEVSERVICES_FOLDER"]))


@pytest.fixture(scope="session")
def kafka() -> AdminClient:
    """The cluster with the declared topics."""
    admin = admin_client()
    assert wait_for_brokers(admin, count=3, timeout=60) == 3
    create(admin, missing(admin, declared_topics()))
    return admin


@pytest.fixture(scope="module")
def committed_rows(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A test database with real commits for all tests of a module, emptied after the last."""
    with django_db_blocker.unblock():
        # pytest-django makes the database only where a test is marked with django_db, and these share their rows.
        made = [] if connection.settings_dict["NAME"].startswith("test_") else setup_databases(0, False)
        RelayShard.objects.bulk_create([RelayShard(shard=n) for n in range(SHARDS)], ignore_conflicts=True)
        yield
        call_command("flush", interactive=False, verbosity=0)
        teardown_databases(made, 0)


@pytest.fixture
def committed_db(transactional_db: None) -> None:
    """A database with real commits, emptied after the test, and the rows that migrations made."""
    RelayShard.objects.bulk_create([RelayShard(shard=n) for n in range(SHARDS)], ignore_conflicts=True)


@pytest.fixture
def flow(kafka: AdminClient, committed_db: None) -> Iterator[Flow]:
    """Relay and consumers, run in this process as far as the test says."""
    skip_what_the_log_holds()
    flow = Flow()
    yield flow
    flow.close()


@pytest.fixture
def processes(kafka: AdminClient, committed_db: None) -> Iterator[Processes]:
    """Start the product's own processes against the test's database; all are ended after the test."""
    skip_what_the_log_holds()
    started = Processes()
    yield started
    started.end()


@pytest.fixture
def own_broker() -> str:
    """A database of Redis for this test alone, so that no other test's tick wakes its worker."""
    url = f"{settings.CELERY_BROKER_URL.rpartition('/')[0]}/{uuid.uuid4().int % 14 + 1}"
    redis.Redis.from_url(url).flushdb()
    return url
