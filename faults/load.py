"""Clients of the API that never give up, and remember every attempt, as Jepsen's clients do."""

import random
import threading
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field

import httpx

SKUS = [f"SKU-{number:04}" for number in range(1, 21)]
TIMEOUT_SECONDS = 5.0
RETRY_SECONDS = 0.1


Lines = dict[str, int]  # SKU -> quantity


class LoadFailed(Exception):
    """The API answered what it must never answer, or nothing for too long."""


@dataclass(slots=True)
class Seen:
    """What the clients saw: every key tried, the orders answered with 201, the cancellations answered with 202.

    `affordable` are orders of which there is always more in stock than they ask for. `unsure` counts requests that got
    no good answer.
    """

    keys: set[str] = field(default_factory=set)
    accepted: dict[str, Lines] = field(default_factory=dict)  # order id -> what it asked for
    cancelled: set[str] = field(default_factory=set)
    affordable: set[str] = field(default_factory=set)
    given_up: int = 0
    unsure: int = 0
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Client:
    """One client. Repeats a POST with the same key until it is answered, however often the answer is lost."""

    def __init__(self, api_url: str, token: str, seen: Seen, *, patience: float = 120.0) -> None:
        self._http = httpx.Client(
            base_url=api_url, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT_SECONDS
        )
        self.seen = seen
        self._patience = patience

    def place(self, lines: Lines, *, attempts: int | None = None) -> str | None:
        """Place an order; its id. With `attempts` the client may give up: None, and 0 or 1 order was made."""
        key = uuid.uuid4().hex
        with self.seen.lock:
            self.seen.keys.add(key)
        body = {"lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines.items()]}
        order_id = self._post("/api/orders", 201, attempts, json=body, headers={"Idempotency-Key": key})
        with self.seen.lock:
            if order_id is None:
                self.seen.given_up += 1
            else:
                self.seen.accepted[order_id] = lines
        return order_id

    def cancel(self, order_id: str) -> None:
        """Ask for the cancellation until it is answered; a rejected order has nothing to cancel."""
        if self._post(f"/api/orders/{order_id}/cancel", 202, None):
            with self.seen.lock:
                self.seen.cancelled.add(order_id)

    def close(self) -> None:
        self._http.close()

    def _post(self, path: str, status: int, attempts: int | None, **request: object) -> str | None:
        deadline, tried = time.monotonic() + self._patience, 0
        while True:
            tried += 1
            try:
                response = self._http.post(path, **request)  # type: ignore[arg-type]
                if response.status_code == status:
                    answer: str = response.json()["id"]
                    return answer
                if response.status_code == 409 and "not-cancellable" in response.text:
                    return None
                if response.status_code not in (409, 500, 502, 503):
                    raise LoadFailed(f"POST {path}: {response.status_code} {response.text[:200]}")
                problem = f"{response.status_code} {response.text[:200]}"
            except httpx.TransportError as error:
                problem = repr(error)
            with self.seen.lock:
                self.seen.unsure += 1
            if attempts is not None and tried >= attempts:
                return None
            if time.monotonic() > deadline:
                raise LoadFailed(f"POST {path} got no good answer in {self._patience:.0f} s: {problem}")
            time.sleep(RETRY_SECONDS)


def random_lines(chance: random.Random, *, greedy: bool = False) -> Lines:
    """One to three SKUs; a greedy order asks for more than there ever is."""
    skus = chance.sample(SKUS, k=chance.randint(1, 3))
    return {sku: 1_000_000 if greedy else chance.randint(1, 5) for sku in skus}


class SteadyLoad:
    """Orders at a steady rate from several clients until told to stop.

    Of the orders 5 % ask for too much, 10 % are cancelled a moment later, and of 5 % the client gives up
    after its first attempt.
    """

    def __init__(
        self, api_url: str, token: str, *, rate: float, clients: int, seed: int, scarce: Collection[str] = ()
    ) -> None:
        """`scarce` are the SKUs that may run out."""
        self.seen = Seen()
        self._scarce = frozenset(scarce)
        self._stop = threading.Event()
        self._interval = clients / rate
        self._threads = [
            threading.Thread(
                target=self._run, args=(Client(api_url, token, self.seen), random.Random(f"{seed}:{n}")), daemon=True
            )
            for n in range(clients)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> Seen:
        """Let each client finish what it has in hand, and stop. What the API must never answer is in `failures`."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return self.seen

    def _run(self, client: Client, chance: random.Random) -> None:
        to_cancel: list[str] = []
        try:
            while not self._stop.is_set():
                due = time.monotonic() + self._interval * chance.uniform(0.5, 1.5)
                gives_up, greedy = chance.random() < 0.05, chance.random() < 0.05
                lines = random_lines(chance, greedy=greedy)
                order_id = client.place(lines, attempts=1 if gives_up else None)
                if order_id and not greedy and self._scarce.isdisjoint(lines):
                    with self.seen.lock:
                        self.seen.affordable.add(order_id)
                if order_id and chance.random() < 0.1:
                    to_cancel.append(order_id)
                if len(to_cancel) > 3:
                    client.cancel(to_cancel.pop(0))
                self._stop.wait(max(0.0, due - time.monotonic()))
            for order_id in to_cancel:
                client.cancel(order_id)
        except Exception as error:
            self.seen.failures.append(repr(error))
        finally:
            client.close()
