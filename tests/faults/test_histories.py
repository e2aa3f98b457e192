"""What the checker tells of each id that is wrong: every place that knows it, in the order of the flow."""

from uuid import uuid4

import psycopg
from django.conf import settings
from psycopg.rows import dict_row

from faults.histories import histories
from messaging.models import OutboxMessage
from orders.models import Order
from tests.factories import LineFactory, StockItemFactory, place
from tests.flow_tools import Flow
from tests.process_tools import environment


def test_a_message_s_history_is_its_order_s_and_a_stranger_has_none(flow: Flow) -> None:
    for _ in range(2):
        place(LineFactory(sku=StockItemFactory(initial=5).sku))
    flow.settle_everything()
    orders = [str(id_) for id_ in Order.objects.values_list("id", flat=True)]
    message = str(OutboxMessage.objects.filter(partition_key=orders[0]).values_list("message_id", flat=True)[0])
    stranger = str(uuid4())
    ids = [message, *orders, stranger]

    with psycopg.connect(environment()["DATABASE_URL"], row_factory=dict_row) as db:
        known = histories(db, ids, settings.KAFKA_BOOTSTRAP_SERVERS)

    assert list(known) == ids
    assert known[message] == known[orders[0]] != known[orders[1]]
    assert known[stranger] == []
    for steps in list(known.values())[:3]:
        # An order and its reply: two messages, each written, in the log, and taken.
        assert [step.partition(":")[0] for step in steps] == [
            "order", "outbox", "outbox", "log", "log", "inbox", "inbox", "ledger",
        ]  # fmt: skip
    assert any(message in step for step in known[message])
