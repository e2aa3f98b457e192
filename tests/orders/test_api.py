"""What the orders API does when it is used as documented."""

import json
import uuid

import pytest

from messaging.models import OutboxMessage
from orders.models import Order
from tests.api_tools import Caller, problem_of, rows_written


class TestPlacingAnOrder:
    def test_answers_201_and_has_committed_order_key_and_message(self, caller: Caller) -> None:
        response = caller.place({"lines": [{"sku": "A-1", "quantity": 2}, {"sku": "B.2_x", "quantity": 1}]})

        assert response.status_code == 201
        answer = json.loads(response.content)
        assert answer["status"] == "pending"
        assert answer["lines"] == [{"sku": "A-1", "quantity": 2}, {"sku": "B.2_x", "quantity": 1}]
        assert Order.objects.get(pk=answer["id"]).client == caller.row
        assert OutboxMessage.objects.get().partition_key == answer["id"]
        assert rows_written() == {
            "orders_order": 1,
            "orders_orderline": 2,
            "idempotency_key": 1,
            "outbox_message": 1,
            "outbox_pending": 1,
        }

    def test_answers_what_a_later_look_shows(self, caller: Caller) -> None:
        placed = json.loads(caller.place().content)

        shown = json.loads(caller.get(f"/api/orders/{placed['id']}").content)

        assert shown == placed

    @pytest.mark.parametrize(
        "lines",
        [
            pytest.param([{"sku": f"SKU-{n}", "quantity": 1} for n in range(100)], id="100 lines"),
            pytest.param([{"sku": "S" * 64, "quantity": 1}], id="a SKU of 64 characters"),
            pytest.param([{"sku": "S", "quantity": 1_000_000}], id="a million of one SKU"),
        ],
    )
    def test_goes_up_to_its_limits(self, caller: Caller, lines: list[dict[str, object]]) -> None:
        assert caller.place({"lines": lines}).status_code == 201

    def test_takes_a_body_of_64_kib(self, caller: Caller) -> None:
        body = json.dumps({"lines": [{"sku": "A", "quantity": 1}]}).ljust(64 * 1024)

        response = caller.post("/api/orders", body, headers={"Idempotency-Key": "k"})

        assert response.status_code == 201

    def test_hands_the_callers_trace_on_to_the_message(self, caller: Caller) -> None:
        trace = "0af7651916cd43dd8448eb211c80319c"
        headers = {"Idempotency-Key": "k", "traceparent": f"00-{trace}-b7ad6b7169203331-01"}

        response = caller.post("/api/orders", '{"lines":[{"sku":"A","quantity":1}]}', headers=headers)

        assert trace in response["traceparent"]
        assert trace in (OutboxMessage.objects.get().traceparent or "")


class TestLookingAtAnOrder:
    def test_of_another_client_finds_nothing(self, caller: Caller) -> None:
        theirs = json.loads(Caller().place().content)["id"]

        response = caller.get(f"/api/orders/{theirs}")

        assert problem_of(response) == (404, "no-such-order")

    def test_that_does_not_exist_gives_the_same_answer_as_another_clients(self, caller: Caller) -> None:
        theirs = json.loads(Caller().place().content)["id"]

        unknown, foreign = (caller.get(f"/api/orders/{order}") for order in (uuid.uuid4(), theirs))

        assert unknown.content == foreign.content

    def test_takes_its_id_in_capitals_too(self, caller: Caller) -> None:
        order_id = json.loads(caller.place().content)["id"]

        assert caller.get(f"/api/orders/{order_id.upper()}").status_code == 200


class TestListingOrders:
    def test_pages_through_all_of_them_once_newest_first(self, caller: Caller) -> None:
        placed = [json.loads(caller.place().content)["id"] for _ in range(5)]

        pages, query = [], {"limit": 2}
        while True:
            page = json.loads(caller.get("/api/orders", **query).content)
            pages.append([order["id"] for order in page["items"]])
            if page["next"] is None:
                break
            query["after"] = page["next"]

        assert pages == [placed[:2:-1], placed[2:0:-1], placed[:1]]

    def test_has_no_next_page_when_the_last_one_is_full(self, caller: Caller) -> None:
        for _ in range(2):
            caller.place()

        page = json.loads(caller.get("/api/orders", limit=2).content)

        assert len(page["items"]) == 2
        assert page["next"] is None

    def test_shows_no_order_of_another_client(self, caller: Caller) -> None:
        Caller().place()

        assert json.loads(caller.get("/api/orders").content) == {"items": [], "next": None}


class TestCancellingAnOrder:
    def test_is_accepted_and_writes_one_message_however_often_it_is_asked(self, caller: Caller) -> None:
        order_id = json.loads(caller.place().content)["id"]

        responses = [caller.cancel(order_id) for _ in range(2)]

        assert [response.status_code for response in responses] == [202, 202]
        assert all(json.loads(response.content)["cancel_requested"] for response in responses)
        types = OutboxMessage.objects.order_by("sequence").values_list("message_type", flat=True)
        assert list(types) == ["orders.order_placed.v1", "orders.order_cancelled.v1"]

    def test_of_another_client_finds_nothing_and_changes_nothing(self, caller: Caller) -> None:
        theirs = json.loads(Caller().place().content)["id"]

        response = caller.cancel(theirs)

        assert problem_of(response) == (404, "no-such-order")
        assert Order.objects.get(pk=theirs).cancel_requested_at is None

    def test_that_was_rejected_is_refused(self, caller: Caller) -> None:
        order_id = json.loads(caller.place().content)["id"]
        Order.objects.update(status=Order.Status.REJECTED)

        response = caller.cancel(order_id)

        assert problem_of(response) == (409, "not-cancellable")
        assert OutboxMessage.objects.count() == 1
