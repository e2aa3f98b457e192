"""Version 2 of the product: another handler, and another message to write."""

from messaging.registry import Subscription
from tests.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.v2.apps.VersionTwo"]  # noqa: F405
MESSAGING_SUBSCRIPTIONS = [
    Subscription("inventory", ("orders.events",), "tests.faults.v2.reservations.handle"),
    Subscription("orders", ("inventory.events",), "orders.replies.handle"),
]
