"""One connection through a proxy, and how its line behaves."""

import asyncio
import math
import re
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

LOOPBACK = "127.0.0.1"
_CHUNK = 65_536
# What is kept of the bytes before, to find a request that two chunks share.
_TAIL = 256
_RST = struct.pack("ii", 1, 0)


@dataclass(eq=False, slots=True)
class Line:
    """How the line behaves. As it is made here, everything passes.

    `hits` counts what it did to somebody: connections reset or cut, and chunks lost or held up; not who is refused
    after a cut. `cut_after` does it no more than `times`.
    """

    lost_requests: bool = False
    lost_answers: bool = False
    delay: float = 0.0
    bytes_per_second: float | None = None
    cut_after: re.Pattern[bytes] | None = None
    times: float = math.inf
    hits: int = 0

    @property
    def is_slow(self) -> bool:
        """Whether bytes arrive late."""
        return self.delay > 0 or self.bytes_per_second is not None

    @property
    def is_over(self) -> bool:
        """Whether it has cut as often as it should."""
        return self.hits >= self.times


class Connection:
    """One client's way to the server and back. `line()` says how it behaves at this moment."""

    def __init__(self, client: asyncio.StreamWriter, line: Callable[[], Line]) -> None:
        self.damaged = False
        self._ends = [client]
        self._line = line
        self._asked: Line | None = None  # the line on which the request has passed after which it is to be cut

    async def run(self, requests: asyncio.StreamReader, to: int) -> None:
        """Pass bytes both ways until one end closes or breaks; then close both."""
        try:
            answers, server = await asyncio.open_connection(LOOPBACK, to)
        except OSError:
            self.reset()
            return
        self._ends.append(server)
        ways = [
            asyncio.ensure_future(self._pass_requests(requests, server)),
            asyncio.ensure_future(self._pass_answers(answers, self._ends[0])),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in self._ends:
                end.close()

    def reset(self) -> None:
        """End both sides with RST."""
        for end in self._ends:
            if not end.is_closing():
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
                end.transport.abort()

    async def _pass_requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tail = b""
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                line = self._line()
                if line.cut_after is not None:
                    found = any(match.end() > len(tail) for match in line.cut_after.finditer(tail + chunk))
                    self._asked = line if found else self._asked
                tail = (tail + chunk)[-_TAIL:]
                await self._pass(chunk, writer, line, lost=line.lost_requests)

    async def _pass_answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                line = self._line()
                if line is self._asked and not line.is_over:
                    line.hits += 1
                    self.reset()
                    return
                await self._pass(chunk, writer, line, lost=line.lost_answers)

    async def _pass(self, chunk: bytes, writer: asyncio.StreamWriter, line: Line, *, lost: bool) -> None:
        if lost:
            self.damaged = True
            line.hits += 1
            return
        if line.is_slow:
            line.hits += 1
        await asyncio.sleep(line.delay)
        while chunk:
            rate = self._line().bytes_per_second
            size = len(chunk) if rate is None else max(1, int(rate / 10))
            writer.write(chunk[:size])
            await writer.drain()
            chunk = chunk[size:]
            if rate is not None:
                await asyncio.sleep(size / rate)
