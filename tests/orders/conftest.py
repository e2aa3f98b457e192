"""Clients of the API, and a server for what only a socket shows."""

from collections.abc import Iterator

import pytest

from tests.api_tools import Caller, Server
from tests.process_tools import Processes

NOBODY_LISTENS = "127.0.0.1:1"


@pytest.fixture
def caller(committed_db: None) -> Caller:
    return Caller()


@pytest.fixture(scope="module")
def servers(django_db_setup: None) -> Iterator[Processes]:
    """The servers that a module of tests shares, ended after it."""
    processes = Processes()
    yield processes
    processes.end()


@pytest.fixture(scope="module")
def server(servers: Processes) -> Server:
    """gunicorn with the test's database, and with no Kafka at all: the API does not need it."""
    return Server(servers, KAFKA_BOOTSTRAP_SERVERS=NOBODY_LISTENS)


@pytest.fixture(scope="module")
def server_without_database(servers: Processes) -> Server:
    return Server(servers, DATABASE_URL=f"postgres://nobody:nothing@{NOBODY_LISTENS}/none")
