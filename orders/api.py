"""Orders over HTTP: parse, one call of a service, answer."""

import hashlib
from typing import Annotated, Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Header, Query, Router, Schema, Status
from pydantic import ConfigDict, Field, StringConstraints, field_validator

from orders import messages, services
from orders.errors import NoSuchOrder
from orders.models import ApiClient, Order

router = Router()

# Pages go from the newest id down; the first begins below the greatest UUID (RFC 9562, section 5.10).
MAX_UUID = UUID(int=2**128 - 1)

Sku = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Key = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,255}$")]


class LineIn(Schema):
    model_config = ConfigDict(extra="forbid", strict=True)

    sku: Sku
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]


class OrderIn(Schema):
    model_config = ConfigDict(extra="forbid", strict=True)

    lines: Annotated[list[LineIn], Field(min_length=1, max_length=100, description="Each SKU at most once")]

    @field_validator("lines")
    @classmethod
    def each_sku_once(cls, lines: list[LineIn]) -> list[LineIn]:
        if len({line.sku for line in lines}) < len(lines):
            raise ValueError("the same SKU appears twice: add up its quantities")
        return lines


class LineOut(Schema):
    sku: str
    quantity: int


class OrderOut(Schema):
    id: UUID
    status: Order.Status
    lines: list[LineOut]
    rejection_reason: str
    cancel_requested: bool


class OrderPage(Schema):
    """The newest orders first; `next` is the `after` of the next page, absent on the last."""

    items: list[OrderOut]
    next: UUID | None


_NO_SUCH_ORDER = {404: {"description": "The client has no order with this id"}}


@router.post(
    "",
    response={201: OrderOut},
    summary="Place an order",
    openapi_extra={
        "responses": {
            201: {
                "headers": {
                    "Idempotent-Replayed": {
                        "description": "`true`: an earlier request with this key placed the order",
                        "schema": {"const": "true"},
                    }
                }
            },
            400: {"description": "The Idempotency-Key or the body is missing or malformed"},
            409: {"description": "A request with this Idempotency-Key is in flight: repeat it"},
            422: {"description": "The body does not fit, or the key was used with another body"},
        }
    },
)
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


@router.get("/{order_id}", response=OrderOut, summary="One order", openapi_extra={"responses": _NO_SUCH_ORDER})
def get_order(request: HttpRequest, order_id: UUID) -> dict[str, Any]:
    order = _orders_of(request).filter(pk=order_id).first()
    if order is None:
        raise NoSuchOrder
    return _order_out(order)


@router.get("", response=OrderPage, summary="The client's orders, newest first")
def list_orders(
    request: HttpRequest, after: UUID = MAX_UUID, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> dict[str, Any]:
    page = list(_orders_of(request).filter(pk__lt=after).order_by("-id")[: limit + 1])
    items = page[:limit]
    return {
        "items": [_order_out(order) for order in items],
        "next": items[-1].pk if len(page) > limit else None,
    }


@router.post(
    "/{order_id}/cancel",
    response={202: OrderOut},
    summary="Ask to cancel an order",
    openapi_extra={"responses": _NO_SUCH_ORDER | {409: {"description": "The order was rejected: nothing to cancel"}}},
)
def cancel_order(request: HttpRequest, order_id: UUID) -> Status[dict[str, Any]]:
    order = services.cancel_order(client_id=_client(request).pk, order_id=order_id)
    return Status(202, _order_out(order))


def _client(request: HttpRequest) -> ApiClient:
    client: ApiClient = request.auth  # type: ignore[attr-defined]  # set by ninja's authentication
    return client


def _orders_of(request: HttpRequest) -> QuerySet[Order]:
    return Order.objects.filter(client=_client(request)).prefetch_related("lines")


def _order_out(order: Order) -> dict[str, Any]:
    return {
        "id": order.pk,
        "status": order.status,
        "lines": [{"sku": line.sku, "quantity": line.quantity} for line in order.lines.all()],
        "rejection_reason": order.rejection_reason,
        "cancel_requested": order.cancel_requested_at is not None,
    }
