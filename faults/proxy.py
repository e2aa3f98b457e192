"""A TCP proxy on the loopback interface that cuts, delays, resets or swallows what passes (toxiproxy's verbs).

Each proxy has one thread of its own. Its verbs may be called from any thread, at any time, in any order; the
last one counts, for the connections there are and for those to come. What it did stands in the `Line` that it gives.
"""

import asyncio
import math
import re
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from faults.line import LOOPBACK, Connection, Line

T = TypeVar("T")

# Requests after which `cut_after` cuts the line.
COMMIT = re.compile(rb"COMMIT\x00")
# A Kafka request begins with its api key, version and correlation id, and the client's name.
PRODUCE_REQUEST = re.compile(rb"\x00\x00\x00[\x00-\x1f].{4}\x00.zero-loss@", re.DOTALL)
OFFSET_COMMIT_REQUEST = re.compile(rb"\x00\x08\x00[\x00-\x1f].{4}\x00.zero-loss@", re.DOTALL)


class Proxy:
    """Listens on `port` (0: any free one) and passes every connection on to the port `to` of this machine."""

    def __init__(self, to: int, *, port: int = 0) -> None:
        """Start at once. Raises OSError when the port is taken."""
        self.port = port
        self._to = to
        self._line = Line()
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._starting = asyncio.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy to {to}", daemon=True)
        self._thread.start()
        try:
            self._do(self._listen())
        except OSError:
            self._end_loop()
            raise

    def restore(self) -> None:
        """Everything passes again. Connections that have lost bytes are reset: the rest would make no sense."""
        self._do(self._become(Line()))

    def cut(self) -> Line:
        """Close every connection and refuse new ones, as when the server has ended."""
        return self._do(self._refuse())

    def reset(self) -> Line:
        """Reset every connection (RST) once. New ones are served as before."""
        return self._do(self._reset_all())

    def drop(self, *, requests: bool = False, answers: bool = False) -> Line:
        """A cut that nobody is told: the bytes of one direction (or both) vanish, the connections stay."""
        return self._do(self._become(Line(lost_requests=requests, lost_answers=answers)))

    def slow(self, *, delay: float = 0.0, bytes_per_second: float | None = None) -> Line:
        """Hold each chunk for `delay` seconds, and pass no more than so many bytes a second in each direction."""
        return self._do(self._become(Line(delay=delay, bytes_per_second=bytes_per_second)))

    def cut_after(self, request: re.Pattern[bytes] = COMMIT, *, times: float = math.inf) -> Line:
        """Let such a request through, wait for the server's answer, drop it and reset the connection.

        The server has done it, and the client cannot know. After so many `times`, everything passes.
        """
        return self._do(self._become(Line(cut_after=request, times=times)))

    def close(self) -> None:
        """End it, with all its connections. Harmless when it has ended."""
        if self._thread.is_alive():
            self.cut()
            self._end_loop()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def line(self) -> Line:
        """How the line behaves now."""
        return self._line

    async def _listen(self) -> None:
        async with self._starting:  # two who mend the line at once find one server
            if self._server is None:
                self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port, reuse_address=True)
                self.port = self._server.sockets[0].getsockname()[1]

    async def _become(self, line: Line) -> Line:
        self._line = line
        await self._listen()
        if not (line.lost_requests or line.lost_answers):
            for one in list(self._connections):
                if one.damaged:
                    one.reset()
        return line

    async def _refuse(self) -> Line:
        self._line = Line()
        if self._server is not None:
            self._server.close()
            self._server = None
        return await self._reset_all()

    async def _reset_all(self) -> Line:
        for one in list(self._connections):
            one.reset()
        return Line(hits=len(self._connections))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer, self.line)
        self._connections.add(connection)
        try:
            # Cancelled by close() alone. Python 3.11 would log a task that ends so as an error.
            with suppress(asyncio.CancelledError):
                await connection.run(reader, self._to)
        finally:
            self._connections.discard(connection)

    def _do(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(timeout=10)

    def _end_loop(self) -> None:
        async def cancel_all() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._do(cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
