"""What only a real server and its socket show: gunicorn as production runs it."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from django.db import connection as database

from messaging.models import OutboxPending
from orders.models import Order
from tests.api_tools import ONE_LINE, Caller, Server, all_of, headers, length, rows_written
from tests.flow_tools import wait_until
from tests.process_tools import Processes

BODY = json.dumps(ONE_LINE).encode()


def code_of(body: bytes) -> str:
    return str(json.loads(body)["type"].rpartition(":")[2])


class TestWithoutKafka:
    def test_orders_are_accepted_and_wait_in_the_outbox(self, server: Server, caller: Caller) -> None:
        status, _, _ = server.ask("POST", "/api/orders", *headers(caller, length(BODY)), body=BODY)

        assert status == 201
        assert OutboxPending.objects.count() == 1

    def test_the_server_is_ready(self, server: Server, committed_db: None) -> None:
        assert server.ask("GET", "/readyz")[0] == 200


class TestWithoutPostgreSQL:
    @pytest.mark.parametrize(
        ("method", "path"),
        [("POST", "/api/orders"), ("GET", "/api/orders"), ("GET", "/api/stock"), ("GET", "/readyz")],
    )
    def test_the_answer_is_503_and_says_to_repeat(
        self, server_without_database: Server, method: str, path: str
    ) -> None:
        status, received, body = server_without_database.ask(method, path, "Authorization: Bearer t")

        assert status == 503
        assert received["content-type"] == "application/problem+json"
        assert received["retry-after"] == "1"
        assert code_of(body) == "database-unavailable"

    def test_the_process_is_alive_and_the_documentation_readable(self, server_without_database: Server) -> None:
        for path in ("/livez", "/api/docs", "/api/openapi.json", "/static/ninja/swagger-ui.css"):
            assert server_without_database.ask("GET", path)[0] == 200

    def test_a_cut_connection_is_replaced_in_the_next_request(self, server: Server, caller: Caller) -> None:
        server.ask("GET", "/api/orders", *headers(caller))
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            assert cursor.fetchone()[0] >= 1

        assert server.ask("GET", "/api/orders", *headers(caller))[0] == 200


class TestALostAnswer:
    def test_is_given_again_when_the_post_is_repeated(self, server: Server, caller: Caller) -> None:
        with server.request("POST", "/api/orders", *headers(caller, length(BODY)), body=BODY) as gone:
            gone.shutdown(socket.SHUT_RD)
            wait_until(Order.objects.exists, what="the order is committed")

        status, received, body = server.ask("POST", "/api/orders", *headers(caller, length(BODY)), body=BODY)

        assert status == 201
        assert received["idempotent-replayed"] == "true"
        assert json.loads(body)["id"] == str(Order.objects.get().pk)


class TestABodyOnTheWire:
    def test_in_chunks_without_a_length_is_refused_with_a_reason(self, server: Server, caller: Caller) -> None:
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)

        status, received, body = server.ask(
            "POST", "/api/orders", *headers(caller, "Transfer-Encoding: chunked"), body=chunks
        )

        assert (status, code_of(body)) == (411, "length-required")
        assert received["content-type"] == "application/problem+json"
        assert rows_written() == {}

    @pytest.mark.parametrize(
        "framing",
        [
            pytest.param(("Transfer-Encoding: chunked", length(BODY)), id="chunks and a length"),
            pytest.param(("Content-Length: 5", length(BODY)), id="two lengths"),
            pytest.param(("Content-Length: -1",), id="a negative length"),
            pytest.param(("Content-Length: 0x10",), id="a hexadecimal length"),
        ],
    )
    def test_framed_in_two_ways_never_reaches_the_api(
        self, server: Server, caller: Caller, framing: tuple[str, ...]
    ) -> None:
        status, _, _ = server.ask("POST", "/api/orders", *headers(caller, *framing), body=BODY)

        assert 400 <= status < 500
        assert rows_written() == {}

    def test_announced_as_too_long_is_refused_before_it_is_sent(self, server: Server, caller: Caller) -> None:
        status, _, body = server.ask("POST", "/api/orders", *headers(caller, "Content-Length: 10000000000"), body=b"{")

        assert (status, code_of(body)) == (413, "body-too-large")

    def test_that_ends_early_is_refused(self, server: Server, caller: Caller) -> None:
        with server.request("POST", "/api/orders", *headers(caller, length(BODY)), body=BODY[:-2]) as half:
            half.shutdown(socket.SHUT_WR)
            answer = half.recv(65536)

        assert b" 400 " in answer.split(b"\r\n")[0]
        assert rows_written() == {}

    def test_that_is_refused_unread_is_not_taken_for_the_next_request(self, server: Server, caller: Caller) -> None:
        hidden = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        after = b"GET /api/stock HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        lines = headers(caller, "Content-Length: 100000")

        with server.request("POST", "/api/orders", *lines, body=hidden.ljust(100_000) + after) as connection:
            answers = all_of(connection)

        assert re.findall(rb"HTTP/1.1 (\d+)", answers) in ([b"413"], [b"413", b"401"])


class TestAHeaderOnTheWire:
    @pytest.mark.parametrize("key", ["k" * 10_240, "schl\u00fcssel", "a b", ""])
    def test_that_is_malformed_is_refused(self, server: Server, caller: Caller, key: str) -> None:
        status, _, _ = server.ask("POST", "/api/orders", *headers(caller, length(BODY), key=key), body=BODY)

        assert 400 <= status < 500
        assert rows_written() == {}

    def test_that_claims_another_host_or_scheme_changes_nothing(self, server: Server, caller: Caller) -> None:
        forged = ("X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-For: 1.2.3.4")

        status, received, body = server.ask("GET", "/api/orders", *headers(caller, *forged))

        assert status == 200
        assert b"evil" not in body
        assert "evil" not in json.dumps(received)


class TestHttps:
    @pytest.mark.parametrize(("believed", "status"), [("127.0.0.0/8", 200), ("192.0.2.1", 301)])
    def test_is_what_a_believed_proxy_says_it_is(self, servers: Processes, believed: str, status: int) -> None:
        server = Server(servers, HTTPS_ONLY="true", FORWARDED_ALLOW_IPS=believed)

        assert server.ask("GET", "/api/docs", "X-Forwarded-Proto: https")[0] == status


class TestTheLog:
    def test_is_one_json_object_a_line_gunicorn_s_own_lines_too(self, servers: Processes) -> None:
        server = Server(servers, LOG_LEVEL="INFO")
        with server.request("GET", "/livez", "Content-Length: none", "Connection: close") as refused:
            all_of(refused)

        lines = [json.loads(line) for line in server.log().splitlines()]

        assert all({"event", "level", "logger", "timestamp"} <= line.keys() for line in lines)
        of_gunicorn = {(line["level"], line["event"]) for line in lines if line["logger"] == "gunicorn.error"}
        assert any(event.startswith("Listening at: ") for level, event in of_gunicorn if level == "info")
        assert any(event.startswith("Invalid request from ip=") for level, event in of_gunicorn if level == "warning")


@pytest.fixture(scope="module")
def impatient(servers: Processes) -> Server:
    """It waits a second for a request; like the others it has four threads."""
    return Server(servers, WEB_REQUEST_SECONDS="1")


class TestASlowClient:
    @pytest.mark.parametrize("drips", [False, True], ids=["and then nothing", "byte by byte"])
    @pytest.mark.parametrize(
        "half",
        [
            pytest.param(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", id="half a header"),
            pytest.param(
                b"POST /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 50000\r\n\r\n{", id="half a body"
            ),
        ],
    )
    def test_does_not_keep_the_threads_from_others(self, impatient: Server, half: bytes, drips: bool) -> None:
        with slow_clients(impatient, 12, half, drips=drips):
            asked_at = time.monotonic()
            status, _, _ = impatient.ask("GET", "/livez")

        assert status == 200
        assert time.monotonic() - asked_at < 10

    def test_whose_body_does_not_come_in_time_is_told_so(self, impatient: Server, caller: Caller) -> None:
        status, _, body = impatient.ask("POST", "/api/orders", *headers(caller, length(BODY)), body=BODY[:-2])

        assert (status, code_of(body)) == (400, "body-incomplete")
        assert rows_written() == {}


@contextmanager
def slow_clients(server: Server, count: int, half: bytes, *, drips: bool) -> Iterator[None]:
    """Connections that have written the beginning of a request; each adds a byte now and then if it drips."""
    clients = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(count)]
    enough = threading.Event()

    def drip() -> None:
        while not enough.wait(0.1):
            for client in clients:
                with suppress(OSError):  # the server has hung up
                    client.sendall(b"x")

    for client in clients:
        client.sendall(half)
    thread = threading.Thread(target=drip)
    if drips:
        thread.start()
    try:
        yield
    finally:
        enough.set()
        if drips:
            thread.join(30)
        for client in clients:
            client.close()
