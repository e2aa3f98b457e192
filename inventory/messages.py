"""What inventory says on the wire. `docs/schemas` publishes these models."""

from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field

from messaging.envelope import Payload

TOPIC = "inventory.events"
SOURCE = "inventory"


class StockReserved(Payload):
    """Every line of the order was deducted from the stock. Sequence 1 of its stream."""

    message_type: ClassVar[str] = "inventory.stock_reserved.v1"
    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE

    order_id: UUID


class StockRejected(Payload):
    """Nothing was deducted: at least one line could not be served. Sequence 1 of its stream."""

    message_type: ClassVar[str] = "inventory.stock_rejected.v1"
    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE

    order_id: UUID
    reason: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]


class StockReleased(Payload):
    """The order's stock was put back. Sequence 2 of its stream."""

    message_type: ClassVar[str] = "inventory.stock_released.v1"
    topic: ClassVar[str] = TOPIC
    source: ClassVar[str] = SOURCE

    order_id: UUID
