"""Orders over HTTP: parse, one call of a service, answer."""

import hashlib
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Header, Query, Router, Schema
from pydantic import ConfigDict, Field, StringConstraints, field_validator

from orders import messages, services
from orders.errors import NoSuchOrder
from orders.models import ApiClient, Order

router = Router()

Sku = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Key = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,255}$")]


class LineIn(Schema):
    model_config = ConfigDict(extra="forbid", strict=True)

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]


class OrderIn(Schema):
    model_config = ConfigDict(extra="forbid", strict=True)

    lines: Annotated[list[LineIn], Field(min_length=1, max_length=100)]

    @field_validator("lines")
    @classmethod
    def each_sku_once(cls, lines: list[LineIn]) -> list[LineIn]:
        if len({line.sku for line in lines}) < len(lines):
            raise ValueError("the same SKU stands twice: add up its quantities")
        return lines


class LineOut(Schema):
    sku: str
    quantity: int


class OrderOut(Schema):
    id: UUID
    status: str
    lines: list[LineOut]
    rejection_reason: str = ""
    cancel_requested: bool = False


class OrderPage(Schema):
    """The newest orders first; `next` is the `after` of the next page, absent on the last."""

    items: list[OrderOut]
    next: UUID | None


@router.post("", response={201: OrderOut}, summary="Place an order")
def place_order(
    request: HttpRequest, order: OrderIn, idempotency_key: Annotated[Key, Header(alias="Idempotency-Key")]
) -> HttpResponse:
    placed = services.place_order(
        client_id=_client(request).pk,
        idempotency_key=idempotency_key,
        body_sha256=hashlib.sha256(request.body).hexdigest(),
        lines=[messages.Line(sku=line.sku, quantity=line.quantity) for line in order.lines],
    )
    response = HttpResponse(placed.answer, status=201, content_type="application/json")
    if placed.replayed:
        response["Idempotent-Replayed"] = "true"
    return response


@router.get("/{uuid:order_id}", response=OrderOut, summary="One order")
def get_order(request: HttpRequest, order_id: UUID) -> dict[str, Any]:
    order = _orders_of(request).filter(pk=order_id).first()
    if order is None:
        raise NoSuchOrder
    return _order_out(order)


@router.get("", response=OrderPage, summary="The client's orders, newest first")
def list_orders(
    request: HttpRequest, after: UUID | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> dict[str, Any]:
    orders = _orders_of(request).order_by("-id")
    if after is not None:
        orders = orders.filter(pk__lt=after)
    page = list(orders[: limit + 1])
    items = page[:limit]
    return {"items": [_order_out(order) for order in items], "next": items[-1].pk if len(page) > limit else None}


@router.post("/{uuid:order_id}/cancel", response={202: OrderOut}, summary="Ask to cancel an order")
def cancel_order(request: HttpRequest, order_id: UUID) -> tuple[int, dict[str, Any]]:
    order = services.cancel_order(client_id=_client(request).pk, order_id=order_id)
    return 202, _order_out(order)


def _client(request: HttpRequest) -> ApiClient:
    client: ApiClient = request.auth  # type: ignore[attr-defined]  # set by ninja's authentication
    return client


def _orders_of(request: HttpRequest) -> Any:
    return Order.objects.filter(client=_client(request)).prefetch_related("lines")


def _order_out(order: Order) -> dict[str, Any]:
    return {
        "id": order.pk,
        "status": order.status,
        "lines": [{"sku": line.sku, "quantity": line.quantity} for line in order.lines.all()],
        "rejection_reason": order.rejection_reason,
        "cancel_requested": order.cancel_requested_at is not None,
    }
