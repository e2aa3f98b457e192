"""Somebody counts the stock by hand while orders flow: optimistic locking against everybody else."""

import random
import threading
from collections.abc import Sequence

from django.db import Error as DatabaseError
from django.db import connection

from faults.load import SKUS
from inventory.errors import OutOfRange, StockChanged
from inventory.models import StockItem
from inventory.services import adjust

PAUSE_SECONDS = 0.3
SHARE_OF_SCARCE = 0.1  # of the adjustments: they stay scarce, also when few orders come


class Adjuster:
    """Adjusts random SKUs until stopped, and brings scarce ones more often.

    `done` were answered, `unsure` may have been done, `beaten` were refused. `failures` ended it.
    """

    def __init__(self, seed: int, scarce: Sequence[str] = ()) -> None:
        self.done = self.unsure = self.beaten = 0
        self.failures: list[str] = []
        self._scarce = scarce
        self._chance = random.Random(f"adjust:{seed}")  # noqa: S311 - spread, not secret
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stop.wait(PAUSE_SECONDS):
                self._adjust_one()
        except Exception as error:
            self.failures.append(repr(error))
        finally:
            connection.close()

    def _adjust_one(self) -> None:
        try:
            if self._scarce and self._chance.random() < SHARE_OF_SCARCE:
                sku, quantity = self._chance.choice(self._scarce), self._chance.choice([5, 10])
            else:
                sku, quantity = self._chance.choice(SKUS), self._chance.choice([-3, -1, 2, 5])
            adjust(sku=sku, quantity=quantity, seen_version=StockItem.objects.get(sku=sku).version)
            self.done += 1
        except (StockChanged, OutOfRange):
            self.beaten += 1
        except DatabaseError:
            self.unsure += 1
            connection.close()
