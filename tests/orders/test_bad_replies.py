"""Anything among inventory's replies: one dead letter, its order waits, and the next reply decides its own order."""

import json
from dataclasses import dataclass, replace

import pytest
from confluent_kafka.admin import AdminClient
from django.core.management import call_command
from pytest_django import DjangoDbBlocker

from messaging.models import DeadLetter
from orders.models import ApiClient, Order
from tests.consume.bad_records import CORRUPT, UNKNOWN_TYPE, UNREADABLE
from tests.consume.fates import assert_one_dead_letter
from tests.consume.raw_records import Change, Place, Raw, header, payload, raw, write
from tests.factories import ApiClientFactory, place
from tests.flow_tools import PARTITIONS, Flow, skip_what_the_log_holds
from tests.orders.replies import reserved

# The module's fixture does the work; but without this mark, run alone, pytest-django makes no test database.
pytestmark = pytest.mark.django_db

TOPIC = "inventory.events"
Reason = DeadLetter.Reason


def rejection(json: str) -> Change:
    """A rejection with this JSON."""
    return lambda message: payload(json)(replace(message, message_type="inventory.stock_rejected.v1"))


BAD: dict[str, dict[str, Change]] = {
    Reason.UNREADABLE: UNREADABLE,
    Reason.CORRUPT: CORRUPT,
    Reason.UNKNOWN_TYPE: UNKNOWN_TYPE | {"another topic's": header("ce_type", "orders.order_placed.v1")},
    Reason.INVALID_PAYLOAD: {
        "nothing": payload("{}"),
        "order_id null": payload('{"order_id": null}'),
        "order_id a number": payload('{"order_id": 17}'),
        "order_id no UUID": payload('{"order_id": "no uuid"}'),
        "order_id of another key": payload('{"order_id": "00000000-0000-0000-0000-000000000000"}'),
        "order_id with NUL": payload(r'{"order_id": "%id\u0000"}'),
        "rejected without a reason": rejection('{"order_id": "%id"}'),
        "rejected, reason null": rejection('{"order_id": "%id", "reason": null}'),
        "rejected, reason a number": rejection('{"order_id": "%id", "reason": 1}'),
        "rejected, reason with NUL": rejection(r'{"order_id": "%id", "reason": "a\u0000"}'),
        "rejected, reason half a surrogate pair": rejection(r'{"order_id": "%id", "reason": "\ud800"}'),
        "rejected, reason of 256 characters": rejection('{"order_id": "%id", "reason": "' + "x" * 256 + '"}'),
    },
}
CHANGES = [(reason, name) for reason, changes in BAD.items() for name in changes]


@dataclass(frozen=True)
class Fate:
    """What became of a bad reply, of the order that it was for, and of the order whose good reply came behind it."""

    record: Raw
    letters: list[DeadLetter]
    status: str
    next_status: str


@pytest.fixture(scope="module")
def fates(kafka: AdminClient, django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> dict[tuple[str, str], Fate]:
    """The whole catalogue, consumed together: a stranger's burst."""
    with django_db_blocker.unblock():
        skip_what_the_log_holds()
        flow, client = Flow(), ApiClientFactory()
        orders, nexts = ([placed_order(client) for _ in CHANGES] for _ in range(2))
        records = [BAD[reason][name](reserved(order.pk)) for (reason, name), order in zip(CHANGES, orders, strict=True)]
        try:
            places = write(((n % PARTITIONS, record) for n, record in enumerate(records)), topic=TOPIC)
            write(((n % PARTITIONS, raw(reserved(order.pk))) for n, order in enumerate(nexts)), topic=TOPIC)
            flow.consume_all("orders")
            found = [_fate(*one) for one in zip(records, places, orders, nexts, strict=True)]
        finally:
            flow.close()
            call_command("flush", verbosity=0, interactive=False)
    return dict(zip(CHANGES, found, strict=True))


def placed_order(client: ApiClient) -> Order:
    return Order.objects.get(pk=json.loads(place(client=client).answer)["id"])


def _fate(record: Raw, at: Place, order: Order, following: Order) -> Fate:
    for one in (order, following):
        one.refresh_from_db()
    letters = DeadLetter.objects.filter(consumer="orders", partition=at[0], offset=at[1])
    return Fate(record, list(letters), order.status, following.status)


@pytest.mark.parametrize(("reason", "name"), CHANGES)
def test_a_bad_reply_is_one_dead_letter_and_decides_nothing(
    fates: dict[tuple[str, str], Fate], reason: str, name: str
) -> None:
    fate = fates[reason, name]

    assert_one_dead_letter(fate.letters, fate.record, reason=reason)
    assert (fate.status, fate.next_status) == (Order.Status.PENDING, Order.Status.CONFIRMED)
