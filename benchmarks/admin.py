"""The admin's pages, with few messages and with a million: nothing may count or sort them all."""

import statistics
import time

from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client

from benchmarks.history import empty, park, settle
from benchmarks.result import Row
from devservices import Stack
from inventory.models import StockItem
from messaging.models import OutboxMessage

FEW, MANY = 1_000, 1_000_000
PARKED = 100
RUNS = 9
SKU = "BENCH"


def run(stack: Stack) -> list[Row]:
    root = get_user_model().objects.create_superuser("bench")
    few, many = _measure(root, FEW), _measure(root, MANY)
    _empty()
    root.delete()
    return [
        Row(
            f"admin: {page}, {MANY:,} messages",
            f"{many[page] * 1000:.0f} ms",
            f"with {FEW:,}: {few[page] * 1000:.0f} ms",
            f"{many[page] / few[page]:.2f}",
            "≈ 1",
        )
        for page in many
    ]


def _measure(root: object, messages: int) -> dict[str, float]:
    """Seconds that each page takes, the median of some."""
    _empty()
    settle(messages)
    _move_stock(messages)
    park(PARKED)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(root)
    return {name: statistics.median(_seconds(client, page) for _ in range(RUNS)) for name, page in _pages().items()}


def _pages() -> dict[str, str]:
    oldest = OutboxMessage.objects.earliest("id")
    outbox, inbox = "/admin/messaging/outboxmessage/", "/admin/messaging/processedmessage/"
    ledger = "/admin/inventory/stockmovement/"
    return {
        "the messages": outbox,
        "the messages' last page": f"{outbox}?p=newer-0",
        "those pending": f"{outbox}?state=pending",
        "those parked": f"{outbox}?state=parked",
        "those acknowledged": f"{outbox}?state=acknowledged",
        "those of a type": f"{outbox}?type={oldest.message_type}",
        "search by message id": f"{outbox}?q={oldest.message_id}",
        "search by order": f"{outbox}?q={oldest.partition_key}",
        "search by type": f"{outbox}?q={oldest.message_type[:5]}",
        "one message": f"{outbox}{oldest.pk}/change/",
        "the inbox": inbox,
        "the inbox of a consumer without any": f"{inbox}?consumer=orders",
        "the inbox, search by order": f"{inbox}?q={oldest.partition_key}",
        "the ledger": ledger,
        "the ledger, the rarest kind": f"{ledger}?kind__exact=release",
        "the ledger, search by SKU": f"{ledger}?q={SKU}",
        "the ledger, search by order": f"{ledger}?q={oldest.partition_key}",
    }


def _move_stock(movements: int) -> None:
    """A ledger as long as the history: one order deducted in each row."""
    StockItem.objects.create(sku=SKU, initial=movements, on_hand=0)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO inventory_stockmovement (order_id, sku, kind, quantity)
            SELECT partition_key::uuid, %s, 'reserve', -1 FROM outbox_message
            """,
            [SKU],
        )


def _empty() -> None:
    empty()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM inventory_stockmovement WHERE sku = %s", [SKU])
    StockItem.objects.filter(sku=SKU).delete()


def _seconds(client: Client, page: str) -> float:
    started = time.perf_counter()
    answer = client.get(page)
    assert answer.status_code == 200, (page, answer.status_code)
    return time.perf_counter() - started
