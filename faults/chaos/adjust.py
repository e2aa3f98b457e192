"""Somebody counts the stock by hand while orders flow: optimistic locking against everybody else."""

import random
import threading

from django.db import Error as DatabaseError
from django.db import connection

from inventory.errors import OutOfRange, StockChanged
from inventory.models import StockItem
from inventory.services import adjust

PAUSE_SECONDS = 0.3


class Adjuster:
    """Adjusts random SKUs until stopped. `done` were answered, `unsure` may have been done, `beaten` were refused."""

    def __init__(self, seed: int) -> None:
        self.done = self.unsure = self.beaten = 0
        self._chance = random.Random(f"adjust:{seed}")  # noqa: S311 - spread, not secret
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_SECONDS):
            try:
                sku = f"SKU-{self._chance.randint(1, 20):04}"
                seen = StockItem.objects.get(sku=sku).version
                adjust(sku=sku, quantity=self._chance.choice([-3, -1, 2, 5]), seen_version=seen)
                self.done += 1
            except (StockChanged, OutOfRange):
                self.beaten += 1
            except DatabaseError:
                self.unsure += 1
                connection.close()
        connection.close()
