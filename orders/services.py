"""What can be done with an order. No HTTP, no Kafka, no Celery: a transaction and its rows.
Only `_answer` makes what HTTP answers with, as it is stored with the key; a test compares it with `api._order_out`
(tests/orders/test_api.py, `test_answers_what_a_later_look_shows`).

`place_order` is pillar 1 in one transaction: the order, its lines, its idempotency key and its message are
committed together or not at all.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from messaging.produce import outbox
from orders.errors import KeyReused, NoSuchOrder, NotCancellable, RequestInFlight
from orders.messages import Line, OrderCancelled, OrderPlaced
from orders.models import IdempotencyKey, Order

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Placed:
    """The JSON to answer with; `replayed` when an earlier request with the same key made the order."""

    answer: str
    replayed: bool


def place_order(*, client_id: int, idempotency_key: str, body_sha256: str, lines: Sequence[Line]) -> Placed:
    """Accept an order, once for each idempotency key. The lines' SKUs are distinct.

    Opens its own transaction, and the order is durable when it returns. Raises RequestInFlight and KeyReused, and
    pydantic's ValidationError where there are no lines. After a lost answer or an error, call it again with the same
    key: it made 0 or 1 order.
    """
    order_id = uuid7()
    answer = _answer(order_id, lines)
    placed = OrderPlaced(order_id=order_id, lines=list(lines))
    with transaction.atomic(durable=True):
        if not _write(
            order_id, lines, client_id=client_id, key=idempotency_key, body_sha256=body_sha256, answer=answer
        ):
            return Placed(_stored_answer(client_id, idempotency_key, body_sha256), replayed=True)
        message_id = outbox.append(placed, partition_key=str(order_id), sequence=1)
    log.info("order accepted", order_id=str(order_id), message_id=str(message_id))
    return Placed(answer, replayed=False)


def cancel_order(*, client_id: int, order_id: UUID) -> Order:
    """Ask for the cancellation; asking again changes nothing. Inventory's reply makes it final.

    Raises NoSuchOrder and NotCancellable.
    """
    with transaction.atomic(durable=True):
        order = Order.objects.select_for_update().filter(pk=order_id, client_id=client_id).first()
        if order is None:
            raise NoSuchOrder
        if order.status == Order.Status.REJECTED:
            raise NotCancellable
        if order.cancel_requested_at is None:
            # Under the row's lock: versions are the message's sequence, without gap or double.
            version = order.version + 1
            Order.objects.filter(pk=order_id).update(version=version, cancel_requested_at=Now())
            message_id = outbox.append(OrderCancelled(order_id=order_id), partition_key=str(order_id), sequence=version)
            transaction.on_commit(
                lambda: log.info("cancellation asked for", order_id=str(order_id), message_id=str(message_id))
            )
            order.refresh_from_db()
        return order


def _write(order_id: UUID, lines: Sequence[Line], *, client_id: int, key: str, body_sha256: str, answer: str) -> bool:
    """Write the key, the order and its lines; nothing at all, and False, when the key is taken.

    Never waits for another request.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _WRITE,
            {
                "client": client_id,
                "key": key,
                "digest": body_sha256,
                "order": order_id,
                "answer": answer,
                "status": Order.Status.PENDING,
                "lines": json.dumps(_lines(lines)),
            },
        )
        return bool(cursor.rowcount)


# One round trip for the three: each takes its rows from what the one before it really wrote.
_WRITE = """
    WITH claimed AS (
        INSERT INTO idempotency_key (client_id, key, body_sha256, order_id, answer)
        SELECT %(client)s::bigint, %(key)s::text, %(digest)s, %(order)s::uuid, %(answer)s
        -- The lock ends with the transaction. Who does not get it competes with a request in flight.
        WHERE pg_try_advisory_xact_lock(hashtextextended(%(key)s::text, %(client)s::bigint))
        ON CONFLICT (client_id, key) DO NOTHING
        RETURNING client_id, order_id
    ), placed AS (
        INSERT INTO orders_order (id, client_id, status, version, rejection_reason)
        SELECT order_id, client_id, %(status)s, 1, '' FROM claimed
        RETURNING id
    )
    INSERT INTO orders_orderline (order_id, sku, quantity)
    SELECT placed.id, line.sku, line.quantity
    FROM placed, json_to_recordset(%(lines)s::json) AS line (sku text, quantity int)
"""


def _stored_answer(client_id: int, key: str, body_sha256: str) -> str:
    stored = IdempotencyKey.objects.filter(client_id=client_id, key=key).first()
    if stored is None:
        raise RequestInFlight
    if stored.body_sha256 != body_sha256:
        raise KeyReused
    return stored.answer


def _answer(order_id: UUID, lines: Sequence[Line]) -> str:
    return json.dumps(
        {
            "id": str(order_id),
            "status": Order.Status.PENDING.value,
            "lines": _lines(lines),
            "rejection_reason": "",
            "cancel_requested": False,
        }
    )


def _lines(lines: Sequence[Line]) -> list[dict[str, str | int]]:
    return [{"sku": line.sku, "quantity": line.quantity} for line in lines]
