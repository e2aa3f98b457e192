"""Stock over HTTP, to look at."""

from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router, Schema

from inventory.models import StockItem

router = Router()


class StockOut(Schema):
    sku: str
    on_hand: int


class StockPage(Schema):
    """SKUs in their order; `next` is the `after` of the next page, absent on the last."""

    items: list[StockOut]
    next: str | None


@router.get("", response=StockPage, summary="What is on hand")
def list_stock(
    request: HttpRequest,
    after: Annotated[str, Query(max_length=64, pattern=r"^[^\x00]*$")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    page = list(StockItem.objects.filter(sku__gt=after).order_by("sku")[: limit + 1])
    items = page[:limit]
    return {
        "items": [{"sku": item.sku, "on_hand": item.on_hand} for item in items],
        "next": items[-1].sku if len(page) > limit else None,
    }
