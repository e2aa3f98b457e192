"""The proxy itself, between a client and a server that answers every line in capitals."""

import contextlib
import re
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from faults.proxy import Proxy


class Shout(socketserver.StreamRequestHandler):
    heard: list[bytes] = []

    def handle(self) -> None:
        try:
            for line in self.rfile:
                self.heard.append(line)
                self.wfile.write(line.upper())
        except ConnectionError:
            return


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    Shout.heard.clear()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Shout) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        with Proxy(server.server_address[1]) as proxy:
            yield proxy
        server.shutdown()


class Client:
    def __init__(self, proxy: Proxy) -> None:
        self.socket = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)

    def ask(self, line: bytes, *, seconds: float = 5) -> bytes:
        """The answer; empty when the line was closed. Raises TimeoutError and ConnectionError."""
        self.socket.settimeout(seconds)
        self.socket.sendall(line)
        answer = b""
        while not answer.endswith(b"\n"):
            if not (chunk := self.socket.recv(1000)):
                return b""
            answer += chunk
        return answer


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    client = Client(proxy)
    assert client.ask(b"hello\n") == b"HELLO\n"
    yield client
    client.socket.close()


def closed(client: Client) -> bool:
    try:
        return client.ask(b"there?\n") == b""
    except ConnectionError:
        return True


class TestAProxy:
    def test_that_is_cut_closes_and_refuses_until_it_is_restored(self, proxy: Proxy, client: Client) -> None:
        line = proxy.cut()

        assert line.hits == 1
        assert closed(client)
        with pytest.raises(ConnectionRefusedError):
            Client(proxy)
        proxy.restore()
        again = Client(proxy)
        assert again.ask(b"back\n") == b"BACK\n"
        again.socket.close()

    def test_that_resets_serves_the_next_connection(self, proxy: Proxy, client: Client) -> None:
        line = proxy.reset()

        assert line.hits == 1
        with pytest.raises(ConnectionResetError):
            client.ask(b"there?\n")
        again = Client(proxy)
        assert again.ask(b"back\n") == b"BACK\n"
        again.socket.close()

    def test_that_drops_requests_keeps_the_connection_and_the_server_hears_nothing(
        self, proxy: Proxy, client: Client
    ) -> None:
        line = proxy.drop(requests=True)

        with pytest.raises(TimeoutError):
            client.ask(b"lost\n", seconds=0.3)
        assert line.hits == 1
        assert Shout.heard == [b"hello\n"]

    def test_that_drops_answers_lets_the_server_hear(self, proxy: Proxy, client: Client) -> None:
        line = proxy.drop(answers=True)

        with pytest.raises(TimeoutError):
            client.ask(b"heard\n", seconds=0.3)
        assert line.hits == 1
        assert Shout.heard == [b"hello\n", b"heard\n"]

    def test_resets_a_connection_that_lost_bytes_when_they_pass_again(self, proxy: Proxy, client: Client) -> None:
        proxy.drop(answers=True)
        with pytest.raises(TimeoutError):
            client.ask(b"heard\n", seconds=0.3)

        # What heals is no strike of what comes after it.
        line = proxy.slow(delay=0.2)

        assert closed(client)
        assert line.hits == 0

    def test_that_is_slow_delays_and_loses_nothing(self, proxy: Proxy, client: Client) -> None:
        line = proxy.slow(delay=0.2, bytes_per_second=100)
        begun = time.monotonic()

        assert client.ask(b"twenty characters...\n") == b"TWENTY CHARACTERS...\n"
        # Both ways: the delay, and 21 bytes of 100 a second.
        assert time.monotonic() - begun > 0.8
        assert line.hits == 2

    def test_cuts_after_the_request_that_the_server_carried_out(self, proxy: Proxy, client: Client) -> None:
        line = proxy.cut_after(re.compile(rb"commit"), times=1)
        assert client.ask(b"insert\n") == b"INSERT\n"

        # The word comes in two pieces.
        client.socket.sendall(b"com")
        with pytest.raises(ConnectionResetError):
            client.ask(b"mit\n")
        assert Shout.heard[-1] == b"commit\n"
        assert line.hits == 1
        again = Client(proxy)
        assert again.ask(b"commit\n") == b"COMMIT\n"
        assert line.hits == 1
        again.socket.close()

    def test_closes_the_client_when_there_is_no_server(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            port = nobody.getsockname()[1]
        # The proxy may be quicker than the client's own call is to return.
        with Proxy(port) as proxy, contextlib.suppress(ConnectionResetError):
            client = Client(proxy)
            assert closed(client)
            client.socket.close()
