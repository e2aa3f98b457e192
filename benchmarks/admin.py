"""The admin's pages, with few messages and with a million: nothing may count or sort them all."""

import statistics
import time

from django.contrib.auth import get_user_model
from django.test import Client

from benchmarks.history import SKU, empty, settle, vacuum, wait
from benchmarks.result import Row, milliseconds, no_growth
from devservices import Stack
from messaging.models import OutboxMessage

FEW, MANY = 1_000, 1_000_000  # settled messages
WAITING, PARKED = 100, 50
BACKLOG = 200_000
RUNS = 9
# Rows are looked through until a page is full, and these fill none: it costs as much as there are rows.
WITHOUT_INDEX = {"the inbox of a consumer without any", "the ledger, the rarest kind"}
OUTBOX = "/admin/messaging/outboxmessage/"


def run(stack: Stack) -> list[Row]:
    root = get_user_model().objects.create_superuser("bench")
    client = Client(headers={"host": "127.0.0.1"})
    client.force_login(root)
    few, many = _measure(client, FEW), _measure(client, MANY)
    backlog = _with_a_backlog(client)
    empty()
    root.delete()
    return [
        *(
            Row(
                f"admin: {page}, {MANY:,} messages",
                milliseconds(many[page]),
                f"with {FEW:,}: {milliseconds(few[page])}",
                f"{many[page] / few[page]:.2f}",
                None if page in WITHOUT_INDEX else no_growth(many[page] / few[page]),
            )
            for page in many
        ),
        backlog,
    ]


def _measure(client: Client, messages: int) -> dict[str, float]:
    """Seconds that each page takes."""
    empty()
    settle(messages)
    wait(WAITING, parked=PARKED)
    vacuum()
    return {name: _seconds(client, page) for name, page in _pages().items()}


def _with_a_backlog(client: Client) -> Row:
    """The list says how many wait, and counts them for it: what that costs after an outage."""
    few = _seconds(client, OUTBOX)
    wait(BACKLOG)
    vacuum()
    many = _seconds(client, OUTBOX)
    return Row(
        f"admin: the messages while {BACKLOG:,} wait, {MANY:,} messages",
        milliseconds(many),
        f"while {WAITING} wait: {milliseconds(few)}",
        f"{many / few:.2f}",
    )


def _pages() -> dict[str, str]:
    oldest = OutboxMessage.objects.earliest("id")
    inbox, ledger = "/admin/messaging/processedmessage/", "/admin/inventory/stockmovement/"
    return {
        "the messages": OUTBOX,
        "the messages' last page": f"{OUTBOX}?p=newer-0",
        "those pending": f"{OUTBOX}?state=pending",
        "those parked": f"{OUTBOX}?state=parked",
        "those acknowledged": f"{OUTBOX}?state=acknowledged",
        "those of a type": f"{OUTBOX}?type={oldest.message_type}",
        "search by message id": f"{OUTBOX}?q={oldest.message_id}",
        "search by order": f"{OUTBOX}?q={oldest.partition_key}",
        "search by type": f"{OUTBOX}?q={oldest.message_type[:5]}",
        "one message": f"{OUTBOX}{oldest.pk}/change/",
        "the inbox": inbox,
        "the inbox of a consumer without any": f"{inbox}?consumer=nobody",
        "the inbox, search by order": f"{inbox}?q={oldest.partition_key}",
        "the ledger": ledger,
        "the ledger, the rarest kind": f"{ledger}?kind__exact=release",
        "the ledger, search by SKU": f"{ledger}?q={SKU}",
        "the ledger, search by order": f"{ledger}?q={oldest.partition_key}",
    }


def _seconds(client: Client, page: str) -> float:
    """The median of some requests."""
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        answer = client.get(page)
        seconds.append(time.perf_counter() - started)
        assert answer.status_code == 200, (page, answer.status_code)
    return statistics.median(seconds)
