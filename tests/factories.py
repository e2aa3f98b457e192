"""factory-boy factories: a row of each kind with sensible values, and the services that make real ones."""

import uuid

import factory
from factory.django import DjangoModelFactory

from inventory.models import StockItem
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


def place(*lines: Line, client: ApiClient | None = None, key: str | None = None) -> Placed:
    """Place an order through the service, as the API does."""
    return place_order(
        client_id=(client or ApiClientFactory()).pk,
        idempotency_key=key or uuid.uuid4().hex,
        body_sha256="0" * 64,
        lines=list(lines) or [LineFactory()],
    )
