"""factory-boy factories: a row of each kind with sensible values, and the services that make real ones."""

import uuid

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory
from uuid_utils.compat import uuid7

from inventory.models import StockItem
from messaging.models import DeadLetter, OutboxMessage, OutboxPending, OutboxReceipt
from orders.messages import Line
from orders.models import ApiClient
from orders.services import Placed, place_order


class ApiClientFactory(DjangoModelFactory[ApiClient]):
    class Meta:
        model = ApiClient

    name = factory.Sequence(lambda n: f"client-{n}")
    token_sha256 = factory.Sequence(lambda n: f"{n:064d}")


class StockItemFactory(DjangoModelFactory[StockItem]):
    class Meta:
        model = StockItem

    sku = factory.Sequence(lambda n: f"SKU-{n:04d}")
    initial = 100
    on_hand = factory.SelfAttribute("initial")


class LineFactory(factory.Factory[Line]):
    class Meta:
        model = Line

    sku = factory.Sequence(lambda n: f"SKU-{n:04d}")
    quantity = 1


class OutboxMessageFactory(DjangoModelFactory[OutboxMessage]):
    """A message in no table yet: OutboxPendingFactory and OutboxReceiptFactory make one with its state."""

    class Meta:
        model = OutboxMessage

    message_id = factory.LazyFunction(uuid7)
    message_type = "orders.order_placed.v1"
    source = "orders"
    topic = "orders.events"
    partition_key = factory.LazyFunction(lambda: str(uuid7()))
    sequence = 1
    payload = '{"order_id": "a", "lines": []}'


class OutboxPendingFactory(DjangoModelFactory[OutboxPending]):
    class Meta:
        model = OutboxPending

    message = factory.SubFactory(OutboxMessageFactory)
    shard = 0

    class Params:
        parked = factory.Trait(
            attempts=1, last_error="MSG_SIZE_TOO_LARGE: too large", parked_at=factory.LazyFunction(timezone.now)
        )


class OutboxReceiptFactory(DjangoModelFactory[OutboxReceipt]):
    class Meta:
        model = OutboxReceipt

    message = factory.SubFactory(OutboxMessageFactory)
    partition = 3
    offset = factory.Sequence(lambda n: n)


class DeadLetterFactory(DjangoModelFactory[DeadLetter]):
    """A record that nobody can read, unless the test says otherwise."""

    class Meta:
        model = DeadLetter

    consumer = "inventory"
    topic = "orders.events"
    partition = 0
    offset = factory.Sequence(lambda n: n)
    key = b"key"
    value = b"\xff\x00no text"
    headers = [["ce_id", b"not a uuid".hex()]]
    reason = DeadLetter.Reason.UNREADABLE
    detail = "ce_id is not a UUID"
    fingerprint = factory.Sequence(lambda n: f"{n:064d}")


def place(*lines: Line, client: ApiClient | None = None, key: str | None = None) -> Placed:
    """Place an order through the service, as the API does."""
    return place_order(
        client_id=(client or ApiClientFactory()).pk,
        idempotency_key=key or uuid.uuid4().hex,
        body_sha256="0" * 64,
        lines=list(lines) or [LineFactory()],
    )
