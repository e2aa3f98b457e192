"""What every room of tests shares: real servers, and a clean start for each test.

The servers come from the environment: `make test` starts them with `python -m devservices exec`, and
any other PostgreSQL, three-broker Kafka and Redis will do (DATABASE_URL, KAFKA_BOOTSTRAP_SERVERS,
CELERY_BROKER_URL).
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from devservices import Stack
from messaging.models import RelayShard
from messaging.produce.shards import SHARDS
from messaging.registry import topics as declared_topics
from messaging.store.kafka import admin_client
from messaging.store.topics import create, missing, wait_for_brokers
from tests.flow_tools import Flow, skip_what_the_log_holds
from tests.process_tools import Processes


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
