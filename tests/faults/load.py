"""Orders placed and cancelled while servers fail, past the API: these scenes need no web process.

Clients of the API itself are in `faults/load.py`.
"""

import json
import random
import threading
import time
from uuid import UUID, uuid4

from django.db import Error as DatabaseError
from django.db import connection

from orders.errors import NotCancellable
from orders.models import ApiClient
from orders.services import cancel_order
from tests.factories import ApiClientFactory, LineFactory, place
from tests.flow_tools import wait_until

PLENTY, SCARCE = "SKU-PLENTY", "SKU-SCARCE"
PER_SECOND = 40
_CANCELLED = 0.1
_SHORT = 0.1


class Load:
    """A thread that places orders at a steady rate between `with` and its end; `accepted` are their ids, `cancelled`
    and `affordable` those that were answered so and those of which there was enough.

    One in ten is cancelled, one in ten wants what there is little of. A scene during which none was accepted proves
    nothing, and fails.
    """

    def __init__(self) -> None:
        self.accepted: list[UUID] = []
        self.cancelled: list[UUID] = []
        self.affordable: list[UUID] = []
        self.repeated = 0
        self._client = ApiClientFactory()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert error or self.accepted, "no order was accepted: there was no load"

    def wait_for(self, orders: int) -> None:
        """Wait until so many more orders are accepted."""
        enough = len(self.accepted) + orders
        wait_until(lambda: len(self.accepted) >= enough, what=f"{orders} orders more are accepted")

    def _run(self) -> None:
        while not self._stop.wait(1 / PER_SECOND):
            sku = SCARCE if random.random() < _SHORT else PLENTY
            order_id = self._place(uuid4().hex, sku)
            if order_id is None:
                continue
            self.accepted.append(order_id)
            if sku == PLENTY:
                self.affordable.append(order_id)
            if random.random() < _CANCELLED:
                self._cancel(order_id)
        connection.close()

    def _place(self, key: str, sku: str) -> UUID | None:
        """The order's id; None when the test ends before the database has answered."""
        while True:
            try:
                answer = place(LineFactory(sku=sku), client=self._client, key=key).answer
            except DatabaseError:
                # Committed or not: only the same key again can tell.
                self._wait_for_the_database()
                if self._stop.is_set():
                    return None
                continue
            return UUID(json.loads(answer)["id"])

    def _cancel(self, order_id: UUID) -> None:
        try:
            cancel_order(client_id=self._client.pk, order_id=order_id)
            self.cancelled.append(order_id)
        except NotCancellable:
            return
        except DatabaseError:
            self._wait_for_the_database()

    def _wait_for_the_database(self) -> None:
        self.repeated += 1
        connection.close()
        time.sleep(0.1)

    def answered(self) -> dict[str, list[str]]:
        """What the checker is told of it."""
        told = {"accepted": self.accepted, "cancelled": self.cancelled, "affordable": self.affordable}
        return {name: [str(order_id) for order_id in orders] for name, orders in told.items()}

    @property
    def client(self) -> ApiClient:
        """Whose orders these are."""
        return self._client
