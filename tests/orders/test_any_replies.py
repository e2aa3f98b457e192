"""hypothesis writes among inventory's replies what nobody thought of: each record ends in one place and decides nothing
that it must not."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orders.models import Order
from tests.consume.raw_records import Raw, raw, write
from tests.consume.test_any_records import A_FEW_EXAMPLES, CHANGES, IDS, STRANGERS, assert_one_end_each
from tests.factories import ApiClientFactory
from tests.flow_tools import PARTITIONS, Flow
from tests.orders.replies import rejected, released, reserved
from tests.orders.test_bad_replies import TOPIC, placed_order

REPLIES = st.builds(
    lambda make, order_id, id_, sequence: replace(make(order_id, sequence=sequence), message_id=id_),
    st.sampled_from([reserved, rejected, released]),
    IDS,
    IDS,
    st.integers(1, 3),
)
BROKEN = st.builds(lambda reply, change: change.of(raw(reply)), REPLIES, CHANGES)
WELL_FORMED = REPLIES.map(raw)  # of an order that nobody placed, or before its predecessor
BATCHES = st.lists(STRANGERS | BROKEN | WELL_FORMED, min_size=20, max_size=60)


class TestAnyReply:
    @A_FEW_EXAMPLES
    @given(records=BATCHES)
    def test_ends_in_exactly_one_place_and_the_next_one_decides_its_order(self, flow: Flow, records: list[Raw]) -> None:
        client = ApiClientFactory()
        orders = [placed_order(client) for _ in range(PARTITIONS)]
        waiting = placed_order(client)
        places = write(((number % PARTITIONS, record) for number, record in enumerate(records)), topic=TOPIC)
        write(((partition, raw(reserved(order.pk))) for partition, order in enumerate(orders)), topic=TOPIC)

        flow.consume_all("orders")

        assert_one_end_each(records, places, consumer="orders")
        decided = Order.objects.filter(client=client).exclude(status=Order.Status.PENDING)
        assert {(order.pk, order.status) for order in decided} == {
            (order.pk, Order.Status.CONFIRMED) for order in orders
        }
        assert Order.objects.get(pk=waiting.pk).status == Order.Status.PENDING
