"""What orders says on the wire. `docs/schemas` publishes these models."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from messaging.envelope import Payload

TOPIC = "orders.events"
SOURCE = "orders"


class Line(BaseModel):
    """How many of one SKU are wanted."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sku: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00]+$")]
    quantity: Annotated[int, Field(ge=1, le=1_000_000)]


class OrderPlaced(Payload):
    """An order was accepted. Sequence 1 of its stream."""

    message_type: ClassVar[str] = "orders.order_placed.v1"
    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE

    order_id: UUID
    lines: Annotated[list[Line], Field(min_length=1, max_length=100)]


class OrderCancelled(Payload):
    """The customer asked to cancel; the order is cancelled only when StockReleased has come back. Sequence 2."""

    message_type: ClassVar[str] = "orders.order_cancelled.v1"
    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE

    order_id: UUID
