"""Call the API as its clients do: over Django's whole stack, or over a real server's socket."""

import hashlib
import json
import socket
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from django.http import HttpResponse
from django.test import Client

from messaging.models import OutboxMessage, OutboxPending
from orders.models import ApiClient, IdempotencyKey, Order, OrderLine
from tests.factories import ApiClientFactory
from tests.flow_tools import wait_until
from tests.process_tools import Processes

ONE_LINE = {"lines": [{"sku": "SKU-0001", "quantity": 2}]}


class Caller:
    """A client of the API with its token. An error in the server is an answer, as over a socket."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token or uuid.uuid4().hex
        self.row: ApiClient = ApiClientFactory(token_sha256=hashlib.sha256(self.token.encode()).hexdigest())

    def get(self, path: str, **query: Any) -> HttpResponse:
        return _http().get(path, query, headers=self.authorization)

    def place(self, body: Any = ONE_LINE, *, key: str | None = None) -> HttpResponse:
        """POST /api/orders with a new idempotency key, or with this one."""
        return self.post("/api/orders", json.dumps(body), headers={"Idempotency-Key": key or uuid.uuid4().hex})

    def cancel(self, order_id: object) -> HttpResponse:
        return self.post(f"/api/orders/{order_id}/cancel", "")

    def post(
        self,
        path: str,
        body: str | bytes,
        *,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> HttpResponse:
        return _http().generic(
            "POST", path, body, content_type=content_type, headers=self.authorization | (headers or {})
        )

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def _http() -> Client:
    return Client(raise_request_exception=False)


def problem_of(response: HttpResponse) -> tuple[int, str]:
    """Status and code of an answer that must be a complete problem document."""
    assert response["Content-Type"] == "application/problem+json"
    document = json.loads(response.content)
    assert set(document) == {"type", "title", "status", "detail"}
    assert document["status"] == response.status_code
    assert document["title"]
    assert document["detail"].endswith(".")
    prefix, _, code = document["type"].rpartition(":")
    assert prefix == "urn:zero-loss"
    return response.status_code, code


def rows_written() -> dict[str, int]:
    """How many rows each table has that placing an order writes to, where it is not none."""
    models = (Order, OrderLine, IdempotencyKey, OutboxMessage, OutboxPending)
    counts = {model._meta.db_table: model.objects.count() for model in models}
    return {table: count for table, count in counts.items() if count}


class Server:
    """A gunicorn of our own, as production runs it."""

    def __init__(self, processes: Processes, **env: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        bind = ("--bind", f"127.0.0.1:{self.port}", "--workers", "1", "--threads", "4")
        self._processes = processes
        self._process = processes.start(sys.executable, "-m", "gunicorn", "config.wsgi", *bind, **env)
        wait_until(self._answers, what=f"gunicorn answers; {processes.logs} tells more", seconds=30)

    def _answers(self) -> bool:
        assert self._process.poll() is None, "gunicorn has ended"
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/livez", timeout=5) as response:
                return bool(response.status == 200)
        except (URLError, OSError):
            return False

    def log(self) -> str:
        """What it has written so far."""
        return self._processes.output(self._process)

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """One request on a connection of its own, its header lines as they stand. Status, headers, body."""
        with self.request(method, path, "Connection: close", *headers, body=body) as connection:
            return _parsed(all_of(connection))

    @contextmanager
    def request(self, method: str, path: str, *headers: str, body: bytes = b"") -> Iterator[socket.socket]:
        """The same, and its answer left unread."""
        lines: Sequence[str] = (f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers)
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
            yield connection


def headers(caller: Caller, *more: str, key: str = "k") -> tuple[str, ...]:
    """The header lines of a good POST but its length."""
    return (
        f"Authorization: Bearer {caller.token}",
        "Content-Type: application/json",
        f"Idempotency-Key: {key}",
        *more,
    )


def length(body: bytes) -> str:
    return f"Content-Length: {len(body)}"


def all_of(connection: socket.socket) -> bytes:
    """What the server writes until it closes the connection."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def _parsed(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status_line.split()[1]), headers, body
