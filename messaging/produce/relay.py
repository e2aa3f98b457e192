"""The relay: move messages from the outbox to Kafka, and settle them after the delivery report.

A *round* fetches what is pending, publishes it, and settles what was acknowledged meanwhile. A
*shift* is a few seconds of rounds under a lease. Its rules:

- nothing leaves the queue without the brokers' acknowledgement;
- at most one unacknowledged message of a stream, so that the first occurrences on the wire stand in
  order even across time-outs, crashes and a change of relay;
- no transaction is open while it waits for Kafka.
"""

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from uuid import uuid4

import structlog
from django.db import Error as DatabaseError
from django.db import connection

from messaging.envelope import Stream
from messaging.errors import FatalClientError
from messaging.produce import lease, queue
from messaging.produce.publisher import Publisher
from messaging.produce.queue import PendingMessage
from messaging.produce.shards import shard_of

log = structlog.get_logger(__name__)

# Messages are counted by their weight: a large one takes the room of many.
WINDOW = 4000  # with more than these in flight nothing is fetched; the late ones are not counted
LATE_SECONDS = 1.0  # after which a report is late: its partition may be dead
LATE_WINDOW = 500  # late messages of a shard, before the shard is left out until reports come
PAGE = 4000  # read at once
PAGES = 10  # pages a round looks through for streams that are free
ROUND_SECONDS = 0.01  # a round lasts so long while few messages come: they travel together, and wait for their reports
FEW = 100  # messages of a round; with more, reports are collected while the next ones are fetched
IDLE_SECONDS = (0.01, 0.1)  # the shortest and the longest wait when there is nothing to do
RENEW_SECONDS = 1.0  # a fraction of the lease
RETRY_SECONDS = 1.0  # until a message of unknown fate is published again
REST_SECONDS = 1.0  # between shifts while other relays hold every shard, or the database does not answer
STALLED_SECONDS = 30.0  # without its report, after which the client is replaced: its leader may be none any more
DRAIN_SECONDS = 0.2  # for the last reports of a shift, before it goes on
GRACE_SECONDS = 5.0  # for the reports that are still out when the process must stop


class _Flight(NamedTuple):
    """A message on its way: when it was published, and what it weighs."""

    stream: Stream
    published_at: float
    weight: int


class Relay:
    """One relay. It keeps its producer from shift to shift; its state is only what is in flight."""

    def __init__(self, make_publisher: Callable[[], Publisher] = Publisher) -> None:
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self._make_publisher = make_publisher
        self._publisher: Publisher | None = None
        self._flying: dict[int, _Flight] = {}  # by outbox id, the first one first
        self._retrying: dict[int, tuple[Stream, float]] = {}  # of unknown fate: … and when to try again

    def shift(self, *, seconds: float, stop: threading.Event) -> bool:
        """Work rounds for `seconds`. False when every shard is another relay's.

        After that time, or once `stop` is set, nothing new is fetched, and the shift ends when nothing is in flight.
        If reports are still out DRAIN_SECONDS later it goes on for another `seconds`; after `stop` it ends
        GRACE_SECONDS later and leaves the rest pending, for the next relay.
        """
        idle, worked = IDLE_SECONDS[0], False
        ends_at = time.monotonic() + seconds
        try:
            for shards in self._leases():
                worked = True
                stopping = stop.is_set()
                if stopping:
                    ends_at = min(ends_at, time.monotonic())
                overtime = time.monotonic() - ends_at
                draining = overtime >= 0  # nothing new is fetched
                if draining and not self._flying:
                    break
                if overtime > (GRACE_SECONDS if stopping else DRAIN_SECONDS):
                    if stopping:
                        break
                    # A report is late, one broker may be away: all other streams must flow on meanwhile.
                    ends_at = time.monotonic() + seconds
                moved = self.round(shards=[] if draining else shards, wait=idle)
                idle = IDLE_SECONDS[0] if moved else min(idle * 1.5, IDLE_SECONDS[1])
        finally:
            self._leave()
        return worked

    def round(self, *, shards: Sequence[int], wait: float) -> bool:
        """Fetch, publish, settle once. True when anything moved; waits up to `wait` seconds if not.

        A round that moves only a few messages lasts ROUND_SECONDS, however soon they are acknowledged.
        """
        ends_at = time.monotonic() + ROUND_SECONDS
        self._replace_a_stalled_client()
        try:
            published = self._publish(self._fetch(self._shards_with_room(shards)))
            if not published:
                settled = self._settle(wait)
            elif published < FEW:
                settled = self._settle(ROUND_SECONDS)
            else:
                settled = self._settle(0)
        except FatalClientError as error:
            log.error("the producer is dead, building a new one", error=str(error))
            self._abandon()
            return False
        if not published and not self._flying:
            time.sleep(wait)
        elif published + settled < FEW:
            time.sleep(max(0.0, ends_at - time.monotonic()))
        return bool(published or settled)

    def _replace_a_stalled_client(self) -> None:
        """Build a new client when a report is missing for too long.

        librdkafka can stay with a leader that is none any more, for ever (confluentinc/librdkafka #4898, #5430); a new
        one asks anew. What the old one had in flight is published again, and the inbox absorbs a copy too many.
        """
        oldest = next(iter(self._flying.values()), None)
        if oldest and time.monotonic() - oldest.published_at > STALLED_SECONDS:
            log.warning("a report is missing for too long, building a new producer", in_flight=len(self._flying))
            self._abandon()

    def _leases(self) -> Iterator[list[int]]:
        """The shards that this relay holds, renewed each second; ends when it holds none."""
        shards, renewed_at = lease.hold(self.owner), time.monotonic()
        while shards:
            yield shards
            if time.monotonic() - renewed_at >= RENEW_SECONDS:
                shards, renewed_at = lease.hold(self.owner), time.monotonic()

    def _shards_with_room(self, shards: Sequence[int]) -> list[int]:
        """The shards to fetch from now: none while the window is full.

        What is late takes no room in the window, or a dead partition would end by stopping all the others. A shard
        is left out at LATE_WINDOW late messages of its own, those of unknown fate included.
        """
        in_time = time.monotonic() - LATE_SECONDS
        late: Counter[int] = Counter()
        for stream, published_at, weight in self._flying.values():
            if published_at > in_time:
                break
            late[shard_of(stream[1])] += weight
        if sum(flight.weight for flight in self._flying.values()) - late.total() > WINDOW:
            return []
        late.update(shard_of(key) for (_, key), _ in self._retrying.values())
        return [shard for shard in shards if late[shard] < LATE_WINDOW]

    def _fetch(self, shards: Sequence[int]) -> list[PendingMessage]:
        """The first pending message of each stream that has none on its way."""
        now = time.monotonic()
        self._retrying = {key: value for key, value in self._retrying.items() if value[1] > now}
        on_their_way = self._flying.keys() | self._retrying.keys()
        busy = {stream for stream, *_ in (*self._flying.values(), *self._retrying.values())}
        free: list[PendingMessage] = []
        room = PAGE // 2
        after = 0
        # A long queue of one stream must not hide the others: read on past it, a few pages far.
        for _ in range(PAGES if shards else 0):
            page = queue.fetch(shards=shards, except_ids=on_their_way, after=after, limit=PAGE)
            for message in page:
                stream = message.stream
                if not message.waits and stream not in busy:
                    busy.add(stream)
                    free.append(message)
                    room -= message.weight
            if sum(message.weight for message in page) < PAGE or room <= 0:
                break
            after = page[-1].outbox_id
        return free

    def _publish(self, messages: Sequence[PendingMessage]) -> int:
        if messages and self._publisher is None:
            self._publisher = self._make_publisher()
        if self._publisher is not None:
            for message in messages:
                self._flying[message.outbox_id] = _Flight(message.stream, time.monotonic(), message.weight)
                self._publisher.publish(message)
        return len(messages)

    def _settle(self, wait: float) -> int:
        if self._publisher is None or not self._flying:
            return 0
        acknowledged, refused, unknown = self._publisher.collect(wait)
        if acknowledged:
            queue.settle(acknowledged)
        if refused:
            queue.park(refused)
        for outbox_id in [*(done.outbox_id for done in acknowledged), *(done.outbox_id for done in refused)]:
            self._flying.pop(outbox_id)
        for outbox_id in unknown:
            self._retrying[outbox_id] = self._flying.pop(outbox_id).stream, time.monotonic() + RETRY_SECONDS
        return len(acknowledged) + len(refused)

    def _leave(self) -> None:
        """End the shift: what is still in flight stays pending, and the leases go to the next relay."""
        if self._flying:
            self._abandon()
        try:
            lease.release(self.owner)
        except DatabaseError as error:
            log.warning("could not release the lease, it ends by itself", error=str(error))

    def _abandon(self) -> None:
        if self._publisher is not None:
            self._publisher.abandon()
        self._publisher = None
        self._flying.clear()
        self._retrying.clear()


def run(relay: Relay, *, stop: threading.Event, shift_seconds: float) -> None:
    """Work shift after shift until told to stop. Trouble with the database is waited out."""
    log.info("relay started", owner=relay.owner)
    while not stop.is_set():
        try:
            worked = relay.shift(seconds=shift_seconds, stop=stop)
        except DatabaseError as error:
            log.warning("the database does not answer, trying again", error=str(error))
            worked = False
        connection.close_if_unusable_or_obsolete()
        if not worked:
            stop.wait(REST_SECONDS)
