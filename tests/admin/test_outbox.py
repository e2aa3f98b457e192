"""The outbox's pages: what they say of a message, and how one is found."""

import json
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from messaging.models import OutboxMessage
from orders.models import Order
from tests.admin.scene import travel
from tests.factories import (
    DeadLetterFactory,
    LineFactory,
    OutboxMessageFactory,
    OutboxPendingFactory,
    OutboxReceiptFactory,
    StockItemFactory,
    place,
)

LIST = "/admin/messaging/outboxmessage/"


def found(client: Client, query: str) -> list[OutboxMessage]:
    rows: list[OutboxMessage] = client.get(LIST + query).context["cl"].result_list
    return rows


def page(client: Client, message: OutboxMessage) -> str:
    return client.get(reverse("admin:messaging_outboxmessage_change", args=[message.pk])).content.decode()


class TestTheList:
    def test_says_what_waits_and_since_when(self, superuser: Client) -> None:
        OutboxPendingFactory.create_batch(2)
        OutboxPendingFactory(parked=True)
        OutboxReceiptFactory()
        DeadLetterFactory()
        oldest = OutboxMessage.objects.order_by("pk").first()
        assert oldest is not None
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE outbox_message SET created_at = now() - interval '2 hours' WHERE id = %s", [oldest.pk]
            )

        shown = superuser.get(LIST)

        figures = shown.context["figures"]
        assert (figures.backlog, figures.parked, figures.dead_letters) == (3, 1, 1)
        assert "<strong>2 h</strong> oldest pending" in shown.content.decode()

    @pytest.mark.parametrize("state", ["pending", "parked", "acknowledged"])
    def test_filters_by_state_and_names_it(self, state: str, superuser: Client) -> None:
        rows = {
            "pending": OutboxPendingFactory().message,
            "parked": OutboxPendingFactory(parked=True).message,
            "acknowledged": OutboxReceiptFactory().message,
        }

        assert found(superuser, f"?state={state}") == [rows[state]]
        assert f'zl-{state}">{state}<' in superuser.get(f"{LIST}?state={state}").content.decode()

    def test_filters_by_the_types_that_exist(self, superuser: Client) -> None:
        OutboxMessageFactory.create_batch(3)
        other = OutboxMessageFactory(message_type="inventory.stock_reserved.v1", source="inventory")

        shown = superuser.get(LIST).content.decode()

        assert "?type=orders.order_placed.v1" in shown
        assert found(superuser, "?type=inventory.stock_reserved.v1") == [other]

    def test_is_searched_by_message_id_order_id_type_and_its_beginning(self, superuser: Client, order_id: UUID) -> None:
        wanted = OutboxMessageFactory(message_type="shop.special.v1", partition_key=str(order_id))
        OutboxMessageFactory.create_batch(3)

        for term in (wanted.message_id, str(wanted.message_id).upper(), order_id, "shop.special.v1", "shop.", " shop"):
            assert found(superuser, f"?q={term}") == [wanted], term
        assert found(superuser, "?q=hop.special") == []

    def test_finds_a_key_that_is_no_uuid(self, superuser: Client) -> None:
        wanted = OutboxMessageFactory(partition_key="customer-7")

        assert found(superuser, "?q=customer-7") == [wanted]

    @pytest.mark.parametrize("query", ["", "?state=acknowledged", "?type=orders.order_placed.v1", "?q=orders."])
    def test_never_counts_the_messages(self, query: str, superuser: Client) -> None:
        OutboxReceiptFactory.create_batch(3)

        with CaptureQueriesContext(connection) as queries:
            superuser.get(LIST + query)

        assert 4 <= len(queries) <= 6
        for sql in (one["sql"].lower().replace('"', "") for one in queries):
            assert "count(*) from outbox_message" not in sql
            assert "count(*) as" not in sql


class TestAMessage:
    def test_shows_the_headers_of_the_wire_the_payload_and_the_receipt(self, superuser: Client) -> None:
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        message = OutboxMessageFactory(payload='{"sku":"SKU-1","quantity":2}', traceparent=trace)
        OutboxReceiptFactory(message=message, partition=4, offset=1234)

        shown = page(superuser, message)

        assert f'<th scope="row">ce_id</th><td>{message.message_id}</td>' in shown
        assert f"<td>{trace}</td>" in shown
        assert "ce_sha256" in shown
        assert "{\n  &quot;sku&quot;: &quot;SKU-1&quot;,\n  &quot;quantity&quot;: 2\n}" in shown
        assert "topic orders.events, partition 4, offset 1234" in shown

    def test_shows_attempts_and_the_last_error_while_it_is_parked(self, superuser: Client) -> None:
        message = OutboxPendingFactory(parked=True, attempts=7, last_error="<TOPIC_AUTHORIZATION_FAILED>").message

        shown = page(superuser, message)

        assert "&lt;TOPIC_AUTHORIZATION_FAILED&gt;" in shown
        assert 'zl-parked">parked<' in shown
        assert '<div class="readonly">7</div>' in shown

    def test_shows_the_whole_way_of_its_key(self, superuser: Client) -> None:
        item = StockItemFactory()
        place(LineFactory(sku=item.sku, quantity=1))
        travel()

        response = superuser.get(
            reverse("admin:messaging_outboxmessage_change", args=[OutboxMessage.objects.order_by("pk")[0].pk])
        )

        ways = [
            (step.message.message_type, step.state, [(taking.consumer, taking.outcome) for taking in step.takings])
            for step in response.context["steps"]
        ]
        assert ways == [
            ("orders.order_placed.v1", "acknowledged", [("inventory", "taken")]),
            ("inventory.stock_reserved.v1", "acknowledged", [("orders", "taken")]),
        ]
        assert reverse("admin:orders_order_change", args=[Order.objects.get().pk]) in response.content.decode()

    def test_says_that_a_consumer_has_not_taken_it_or_gave_it_up(self, superuser: Client) -> None:
        waiting, hopeless = OutboxReceiptFactory().message, OutboxReceiptFactory().message
        letter = DeadLetterFactory(
            message_id=hopeless.message_id, partition=hopeless.receipt.partition, offset=hopeless.receipt.offset
        )
        stranger = DeadLetterFactory(message_id=waiting.message_id, partition=7)  # it only claims the id

        assert "not yet" in page(superuser, waiting)
        assert reverse("admin:messaging_deadletter_change", args=[stranger.pk]) not in page(superuser, waiting)
        assert reverse("admin:messaging_deadletter_change", args=[letter.pk]) in page(superuser, hopeless)

    def test_makes_as_many_queries_for_a_long_way_as_for_a_short_one(self, superuser: Client) -> None:
        short, key = OutboxReceiptFactory().message, "long"
        for number in range(1, 31):
            OutboxReceiptFactory(message__partition_key=key, message__sequence=number)
        long = OutboxMessage.objects.filter(partition_key=key)[0]
        page(superuser, long)  # the first page of a process also reads the content types, which Django keeps
        counts = []
        for message in (short, long):
            with CaptureQueriesContext(connection) as queries:
                page(superuser, message)
            counts.append(len(queries))

        assert counts[0] == counts[1] <= 8

    def test_that_does_not_exist_is_answered_with_a_sentence(self, superuser: Client) -> None:
        for wrong in ("999999", "abc", "9" * 30):
            answer = superuser.get(f"{LIST}{wrong}/change/", follow=True)
            assert f"ID “{wrong}”" in answer.content.decode()


class TestAPayload:
    @pytest.mark.parametrize(
        "payload",
        [
            '{"name": "<script>alert(1)</script>"}',
            "<script>alert(1)</script>",
            json.dumps({"</pre><script>alert(1)</script>": 1}),
        ],
    )
    def test_is_escaped(self, payload: str, superuser: Client) -> None:
        shown = page(superuser, OutboxMessageFactory(payload=payload))

        assert "<script>alert" not in shown
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown

    def test_that_is_long_is_cut_with_a_note(self, superuser: Client) -> None:
        shown = page(superuser, OutboxMessageFactory(payload=json.dumps({"text": "x" * 250_000})))

        assert "Shown up to 65536 characters." in shown
        assert len(shown) < 200_000
        assert "As it travels: 250012 bytes" in shown

    @pytest.mark.parametrize(
        "payload",
        [
            "[" * 900 + "]" * 900,
            "[" + ",".join(["[" * 500 + "]" * 500] * 250) + "]",
            "[" * 100_000,
            '"\\ud800 half a pair"',
            "no JSON",
            "",
            "1" * 5000,
        ],
        ids=["deep", "many deep ones", "too deep", "surrogate", "text", "empty", "huge number"],
    )
    def test_of_any_shape_is_shown(self, payload: str, superuser: Client) -> None:
        response = superuser.get(
            reverse("admin:messaging_outboxmessage_change", args=[OutboxMessageFactory(payload=payload).pk])
        )

        assert response.status_code == 200
        assert len(response.content) < 1_000_000
