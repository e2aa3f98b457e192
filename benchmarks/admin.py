"""The admin's pages of the outbox, with few messages and with a million: nothing may count or sort them all."""

import statistics
import time

from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client

from benchmarks.history import empty, settle
from benchmarks.result import Row
from devservices import Stack
from messaging.models import OutboxMessage

FEW, MANY = 1_000, 1_000_000
RUNS = 9


def run(stack: Stack) -> list[Row]:
    root = get_user_model().objects.create_superuser("bench")
    few, many = _measure(root, FEW), _measure(root, MANY)
    empty()
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
    empty()
    settle(messages)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(root)
    oldest = OutboxMessage.objects.earliest("id")
    base = "/admin/messaging/outboxmessage/"
    pages = {
        "the messages": base,
        "those acknowledged": f"{base}?state=acknowledged",
        "search by message id": f"{base}?q={oldest.message_id}",
        "search by order": f"{base}?q={oldest.partition_key}",
        "one message": f"{base}{oldest.pk}/change/",
    }
    return {name: statistics.median(_seconds(client, page) for _ in range(RUNS)) for name, page in pages.items()}


def _seconds(client: Client, page: str) -> float:
    started = time.perf_counter()
    answer = client.get(page)
    assert answer.status_code == 200, (page, answer.status_code)
    return time.perf_counter() - started
