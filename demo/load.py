"""Clients that place and cancel orders over HTTP, and give up on nothing."""

import queue
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
from tqdm import tqdm

REPEATED_SHARE = 0.05  # of the POSTs are sent again with the same Idempotency-Key
CANCELLED_SHARE = 0.05  # of the orders are cancelled later
CANCEL_AFTER = 25  # … when so many younger ones were answered, by whichever client comes by
GREEDY_SHARE = 0.05  # of the orders ask for more than there is
GREEDY_QUANTITY = 1_000_000
RETRY_SECONDS = 0.2


class LoadFailed(Exception):
    """The API answered what it must not, or nothing at all until the deadline."""


@dataclass(slots=True)
class Sent:
    """What the clients saw: ids that were answered with 201, and what they had to repeat."""

    order_ids: set[str] = field(default_factory=set)
    to_cancel: deque[tuple[int, str]] = field(default_factory=deque)  # how many were answered then, and the order
    repeated: int = 0
    cancelled: int = 0
    greedy: int = 0
    retried: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class Load:
    """How many orders, from how many clients at once, to which API."""

    api_url: str
    token: str
    orders: int
    clients: int
    deadline_seconds: float
    seed: int

    def run(self, *, at_half: Callable[[Sent], None]) -> Sent:
        """Place all orders; `at_half` is called once, while the clients go on. Raises LoadFailed.

        The last tenth is placed after it: however fast the machine is, orders come before, meanwhile and after.
        """
        sent = Sent()
        work: queue.SimpleQueue[int] = queue.SimpleQueue()
        all_given = threading.Event()
        before = self.orders - max(1, self.orders // 10)
        for number in range(before):
            work.put(number)
        failures: list[BaseException] = []
        with tqdm(total=self.orders, unit="order", desc="orders", mininterval=0.5, disable=None) as bar:
            threads = [
                threading.Thread(
                    target=self._client, args=(work, all_given, sent, bar, failures), name=f"client-{n}", daemon=True
                )
                for n in range(self.clients)
            ]
            for thread in threads:
                thread.start()
            try:
                while any(thread.is_alive() for thread in threads) and len(sent.order_ids) < before // 2:
                    time.sleep(0.02)
                if not failures:
                    at_half(sent)
                    for number in range(before, self.orders):
                        work.put(number)
                    all_given.set()
                for thread in threads:
                    thread.join()
            except BaseException as error:
                # Ctrl-C, or a kill that failed: the clients see it and stop too.
                failures.append(error)
                raise
        if failures:
            raise LoadFailed(str(failures[0])) from failures[0]
        return sent

    def _client(
        self,
        work: "queue.SimpleQueue[int]",
        all_given: threading.Event,
        sent: Sent,
        bar: "tqdm[int]",
        failures: list[BaseException],
    ) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            with httpx.Client(base_url=self.api_url, headers=headers, timeout=10) as client:
                while not failures:
                    try:
                        number = work.get(timeout=0.05)
                    except queue.Empty:
                        if not all_given.is_set():
                            continue
                        self._cancel_due(client, sent, younger=0)
                        return
                    self._one_order(client, random.Random(f"{self.seed}:{number}"), sent)
                    self._cancel_due(client, sent, younger=CANCEL_AFTER)
                    bar.update()
        except Exception as error:
            failures.append(error)

    def _one_order(self, client: httpx.Client, chance: random.Random, sent: Sent) -> None:
        greedy = chance.random() < GREEDY_SHARE
        skus = chance.sample(range(1, 21), k=chance.randint(1, 3))
        lines = [
            {"sku": f"SKU-{sku:04}", "quantity": GREEDY_QUANTITY if greedy else chance.randint(1, 5)} for sku in skus
        ]
        key = {"Idempotency-Key": uuid.UUID(int=chance.getrandbits(128), version=4).hex + uuid.uuid4().hex}
        order_id = self._until_answered(client, sent, 201, "/api/orders", json={"lines": lines}, headers=key)
        with sent.lock:
            sent.order_ids.add(order_id)
            sent.greedy += greedy
        if chance.random() < REPEATED_SHARE:
            again = self._until_answered(client, sent, 201, "/api/orders", json={"lines": lines}, headers=key)
            if again != order_id:
                raise LoadFailed(f"one Idempotency-Key made two orders: {order_id} and {again}")
            with sent.lock:
                sent.repeated += 1
        if not greedy and chance.random() < CANCELLED_SHARE / (1 - GREEDY_SHARE):
            with sent.lock:
                sent.to_cancel.append((len(sent.order_ids), order_id))

    def _cancel_due(self, client: httpx.Client, sent: Sent, *, younger: int) -> None:
        """Cancel the orders after which `younger` others were answered."""
        while True:
            with sent.lock:
                if not sent.to_cancel or len(sent.order_ids) - sent.to_cancel[0][0] < younger:
                    return
                _, order_id = sent.to_cancel.popleft()
            self._until_answered(client, sent, 202, f"/api/orders/{order_id}/cancel")
            with sent.lock:
                sent.cancelled += 1

    def _until_answered(self, client: httpx.Client, sent: Sent, status: int, path: str, **request: object) -> str:
        """POST until it is answered; repeating is safe, because the key or the order stays the same."""
        deadline = time.monotonic() + self.deadline_seconds
        while True:
            try:
                response = client.post(path, **request)  # type: ignore[arg-type]
                if response.status_code == status:
                    answer: str = response.json()["id"]
                    return answer
                in_flight = response.status_code == 409 and "request-in-flight" in response.text
                if response.status_code != 503 and not in_flight:
                    raise LoadFailed(f"POST {path} was answered with {response.status_code}: {response.text[:300]}")
                problem = response.text[:300]
            except httpx.TransportError as error:
                problem = repr(error)
            if time.monotonic() > deadline:
                raise LoadFailed(f"POST {path} got no good answer in {self.deadline_seconds:.0f} s: {problem}")
            sent.retried += 1
            time.sleep(RETRY_SECONDS)
