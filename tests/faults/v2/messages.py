"""`orders.order_placed` in its second version: the lines are items now, and the quantity is units."""

from collections.abc import Sequence
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import BaseModel, Field

from messaging.envelope import Payload
from orders.messages import SOURCE, TOPIC, Line


class Item(BaseModel):
    sku: Annotated[str, Field(min_length=1, max_length=64)]
    units: Annotated[int, Field(ge=1)]


class OrderPlacedV2(Payload):
    message_type: ClassVar[str] = "orders.order_placed.v2"
    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE

    order_id: UUID
    items: Annotated[list[Item], Field(min_length=1)]


def order_placed(*, order_id: UUID, lines: Sequence[Line]) -> OrderPlacedV2:
    return OrderPlacedV2(order_id=order_id, items=[Item(sku=line.sku, units=line.quantity) for line in lines])
