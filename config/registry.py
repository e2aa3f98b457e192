"""Which topics exist and who reads them: the wiring of the flow on one page."""

from messaging.registry import Subscription, Topic

MESSAGING_TOPICS = [
    Topic(name="orders.events", partitions=6),
    Topic(name="inventory.events", partitions=6),
]
MESSAGING_SUBSCRIPTIONS = [
    Subscription(consumer="inventory", topics=("orders.events",), handler="inventory.reservations.handle"),
    Subscription(consumer="orders", topics=("inventory.events",), handler="orders.replies.handle"),
]
# What the audit asks the domain: its counts, and the ids that do not add up.
MESSAGING_BOOKS = "config.books.account"
