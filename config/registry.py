"""Which topics exist and who reads them: the wiring of the flow on one page."""

from inventory.messages import StockRejected, StockReleased, StockReserved
from messaging.envelope import Payload
from messaging.registry import KeyLink, Subscription, Topic
from orders.messages import OrderCancelled, OrderPlaced

TOPICS: list[Topic] = [
    Topic(name="orders.events", partitions=3),
    Topic(name="inventory.events", partitions=3),
]
SUBSCRIPTIONS: list[Subscription] = [
    Subscription(consumer="inventory", topics=("orders.events",), handler="inventory.reservations.handle"),
    Subscription(consumer="orders", topics=("inventory.events",), handler="orders.replies.handle"),
]
# What `manage.py export_schemas` publishes in docs/.
MESSAGES: list[type[Payload]] = [OrderPlaced, OrderCancelled, StockReserved, StockRejected, StockReleased]
# What the audit asks the domain: its counts, and the ids that do not add up.
BOOKS = "config.books.account"
# Where the admin leads to from a message's key: it is an order's id.
KEY_LINKS: list[KeyLink] = [
    KeyLink("order", "admin:orders_order_change"),
    KeyLink("stock movements", "admin:inventory_stockmovement_changelist", by_search=True),
]
