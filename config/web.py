"""What gunicorn runs with: its own log lines like all others, and a deadline for every request.

gunicorn.conf.py names both classes.
"""

import socket
import time
from typing import Any

from gunicorn import glogging
from gunicorn.http.errors import NoMoreData
from gunicorn.workers.gthread import TConn, ThreadWorker


class Logger(glogging.Logger):  # type: ignore[misc]  # gunicorn has no types
    """Hands gunicorn's messages on to the root logger, which writes them as it writes all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class DeadlineWorker(ThreadWorker):  # type: ignore[misc]
    """Threads that read a request, header and body together, for `request_seconds` at most.

    Otherwise a few connections with half a request would hold every thread, and nobody else would be answered. A
    client that is slower is taken for one that has hung up.

    Not covered: each slow request still holds its thread until then, so a flood of them delays the others; a client
    that does not read its answer; one that does not hang up after it, for which gunicorn waits two seconds in the loop
    that takes all connections; TLS, which gunicorn does not speak here. For these a proxy stands in front.
    """

    request_seconds = 10.0

    def handle(self, conn: TConn) -> object:
        if not isinstance(conn.sock, _Connection):
            conn.sock = _Connection(fileno=conn.sock.detach())
        conn.sock.read_until = time.monotonic() + self.request_seconds
        return super().handle(conn)


class _Connection(socket.socket):
    """Reads until the deadline, however slowly the bytes come; then there are no more."""

    read_until = 0.0

    def recv(self, size: int, flags: int = 0) -> bytes:
        # What has come already is read after the deadline too: it may be we who were late.
        left = max(0.0, self.read_until - time.monotonic())
        timeout = self.gettimeout()
        if timeout is not None and timeout <= left:
            return super().recv(size, flags)
        self.settimeout(left)
        try:
            return super().recv(size, flags)
        except (TimeoutError, BlockingIOError) as error:
            # gunicorn closes connections in its only loop, and waits there for what may still come: nothing does.
            self.shutdown(socket.SHUT_RD)
            raise NoMoreData from error
        finally:
            self.settimeout(timeout)
