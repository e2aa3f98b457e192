"""Nothing can be edited, and every page costs the same with one row as with many."""

from collections.abc import Callable

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from messaging.admin import ReadOnlyAdmin
from messaging.models import OutboxMessage, ParkedMessage, ProcessedMessage
from orders.models import ApiClient, Order
from tests.admin.scene import travel, wanting_stock
from tests.factories import (
    ApiClientFactory,
    DeadLetterFactory,
    LineFactory,
    OutboxMessageFactory,
    OutboxPendingFactory,
    OutboxReceiptFactory,
    StockItemFactory,
    place,
)

PAGES = [name for name, site in ((m._meta.label_lower, a) for m, a in admin.site._registry.items())
         if isinstance(site, ReadOnlyAdmin)]  # fmt: skip


def address(label: str, page: str, *args: object) -> str:
    app, model = label.split(".")
    return reverse(f"admin:{app}_{model}_{page}", args=args)


@pytest.fixture
def filled(superuser: Client) -> Callable[[], None]:
    """Add some rows to every table."""

    def add() -> None:
        item = StockItemFactory()
        for _ in range(3):
            place(LineFactory(sku=item.sku, quantity=1))
        travel()
        place()
        letter = DeadLetterFactory()
        ParkedMessage.objects.create(
            consumer="orders", topic="t", partition=0, offset=letter.offset, key=b"k", value=b"v", headers=[],
            message_id=OutboxMessageFactory().message_id, source="s", partition_key="k", sequence=letter.offset + 2,
        )  # fmt: skip
        admin.models.LogEntry.objects.log_actions(
            User.objects.get().pk, [letter], 2, change_message="why", single_object=True
        )

    add()
    return add


class TestEveryPage:
    def test_of_the_mechanism_and_the_domain_is_here(self) -> None:
        kept = {"orders.apiclient", "orders.order", "orders.idempotencykey", "inventory.stockitem"}
        kept |= {"inventory.stockmovement", "messaging.outboxmessage", "messaging.processedmessage"}
        kept |= {"messaging.parkedmessage", "messaging.deadletter", "admin.logentry"}

        assert set(PAGES) == kept

    @pytest.mark.parametrize("label", PAGES)
    def test_opens_as_a_list_and_as_a_row(self, label: str, superuser: Client, filled: Callable[[], None]) -> None:
        row = apps.get_model(label).objects.first()

        assert superuser.get(address(label, "changelist")).status_code == 200
        assert superuser.get(address(label, "change", row.pk)).status_code == 200
        assert superuser.get(address(label, "history", row.pk)).status_code == 200

    @pytest.mark.parametrize("label", PAGES)
    def test_can_not_add_change_or_delete_even_for_a_superuser(
        self, label: str, superuser: Client, filled: Callable[[], None]
    ) -> None:
        row = apps.get_model(label).objects.first()

        assert superuser.post(address(label, "add"), {}).status_code == 403
        assert superuser.post(address(label, "change", row.pk), {}).status_code == 403
        assert superuser.post(address(label, "delete", row.pk), {"post": "yes"}).status_code == 403
        delete = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
        superuser.post(address(label, "changelist"), delete)
        assert apps.get_model(label).objects.filter(pk=row.pk).exists()

    @pytest.mark.parametrize("label", PAGES)
    def test_makes_as_many_queries_for_many_rows_as_for_few(
        self, label: str, superuser: Client, filled: Callable[[], None]
    ) -> None:
        superuser.get(address(label, "changelist"))  # fills Django's cache of content types
        few = self._queries(superuser, address(label, "changelist"))
        for _ in range(4):
            filled()

        many = self._queries(superuser, address(label, "changelist"))

        assert len(many) == len(few) <= 7

    @pytest.mark.parametrize("label", PAGES)
    def test_counts_no_table(self, label: str, superuser: Client, filled: Callable[[], None]) -> None:
        table = apps.get_model(label)._meta.db_table
        for query in ("", "?_facets=True", "?q=x", "?all=", "?p=older-1"):
            queries = self._queries(superuser, address(label, "changelist") + query)

            assert queries
            counting = [sql for sql in queries if "count(" in sql.lower() and f'from "{table}"' in sql.lower()]
            assert counting == []

    @pytest.mark.parametrize("label", PAGES)
    def test_answers_nonsense_in_its_address_with_a_page(
        self, label: str, superuser: Client, filled: Callable[[], None]
    ) -> None:
        nonsense = ("?p=older-nonsense", "?p=newer-%00", f"?p=older-{'9' * 30}", "?p=7", "?p=-", "?o=1.2", "?q=%00")
        for query in nonsense:
            assert superuser.get(address(label, "changelist") + query).status_code == 200, query
        known = label in ("messaging.outboxmessage", "messaging.deadletter")
        assert superuser.get(address(label, "changelist") + "?state=x").status_code == (200 if known else 400)

    def test_refuses_lookups_that_it_does_not_offer(self, superuser: Client) -> None:
        ApiClientFactory(token_sha256="a" * 64)

        guess = superuser.get(address("orders.apiclient", "changelist") + "?token_sha256__startswith=a")

        assert guess.status_code == 400

    def test_never_shows_the_hash_of_a_token(self, superuser: Client) -> None:
        client = ApiClientFactory(token_sha256="feed" * 16)

        for page in (address("orders.apiclient", "changelist"), address("orders.apiclient", "change", client.pk)):
            assert "feedfeed" not in superuser.get(page).content.decode()

    def test_is_closed_to_strangers(self, db: None) -> None:
        User.objects.create_user("staff", is_staff=True)
        stranger = Client()
        stranger.force_login(User.objects.get())

        for label in PAGES:
            assert stranger.get(address(label, "changelist")).status_code == 403
            assert Client().get(address(label, "changelist")).status_code == 302

    @staticmethod
    def _queries(client: Client, url: str) -> list[str]:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            client.get(url)
        return [query["sql"] for query in captured]


class TestAListOfManyRows:
    def test_pages_by_key_forth_and_back(self, superuser: Client) -> None:
        written = [row.pk for row in OutboxMessageFactory.create_batch(120)]
        seen: list[list[int]] = []
        url = address("messaging.outboxmessage", "changelist")

        page = superuser.get(url).context["cl"]
        seen.append([row.pk for row in page.result_list])
        while page.older:
            page = superuser.get(url + page.older).context["cl"]
            seen.append([row.pk for row in page.result_list])
        back = [[row.pk for row in page.result_list]]
        while page.newer:
            page = superuser.get(url + page.newer).context["cl"]
            back.append([row.pk for row in page.result_list])

        assert [len(page) for page in seen] == [50, 50, 20]
        assert [pk for page in seen for pk in page] == written[::-1]
        assert back == seen[::-1]

    def test_pages_by_text_where_the_key_is_text(self, superuser: Client) -> None:
        StockItemFactory.create_batch(60)
        url = address("inventory.stockitem", "changelist")

        first = superuser.get(url).context["cl"]
        second = superuser.get(url + first.older).context["cl"]

        skus = [row.sku for row in (*first.result_list, *second.result_list)]
        assert skus == sorted(skus)
        assert len(skus) == 60

    def test_keeps_its_filter_from_page_to_page(self, superuser: Client) -> None:
        OutboxPendingFactory.create_batch(60)
        OutboxReceiptFactory.create_batch(60)
        url = address("messaging.outboxmessage", "changelist")

        first = superuser.get(url + "?state=pending").context["cl"]
        second = superuser.get(url + first.older).context["cl"]

        assert len(second.result_list) == 10
        assert not second.older

    def test_does_not_read_payloads(self, superuser: Client) -> None:
        OutboxReceiptFactory(message__payload='"' + "x" * 1000 + '"')
        DeadLetterFactory()

        for label, column in (("messaging.outboxmessage", "payload"), ("messaging.deadletter", "value")):
            with CaptureQueriesContext(connection) as queries:
                superuser.get(address(label, "changelist"))
            assert not [query for query in queries if f'."{column}"' in query["sql"]]


class TestFromAnOrder:
    def test_links_lead_to_its_messages_inbox_rows_and_movements_and_back(self, superuser: Client) -> None:
        item = StockItemFactory(sku="SKU-LINKED")
        place(LineFactory(sku=item.sku, quantity=2))
        place(LineFactory(sku=item.sku, quantity=1))
        travel()
        order = Order.objects.order_by("pk").first()
        assert order is not None
        order_page = superuser.get(address("orders.order", "change", order.pk)).content.decode()
        found = {}
        for name in ("messaging.outboxmessage", "messaging.processedmessage", "inventory.stockmovement"):
            link = f"{address(name, 'changelist')}?q={order.pk}"
            assert f'href="{link}"' in order_page
            found[name] = superuser.get(link).context["cl"].result_list

        assert [row.partition_key for row in found["messaging.outboxmessage"]] == [str(order.pk)] * 2
        assert [row.partition_key for row in found["messaging.processedmessage"]] == [str(order.pk)] * 2
        assert [row.order_id for row in found["inventory.stockmovement"]] == [order.pk]
        for name, rows in found.items():
            page = superuser.get(address(name, "change", rows[0].pk)).content.decode()
            assert f'href="{address("orders.order", "change", order.pk)}"' in page

    def test_an_idempotency_key_is_found_by_key_and_by_order(self, superuser: Client) -> None:
        client = ApiClientFactory()
        place(client=client, key="my-key")
        place(client=client)
        order = Order.objects.get(idempotencykey__key="my-key")
        url = address("orders.idempotencykey", "changelist")

        for term in ("my-key", str(order.pk)):
            assert [row.key for row in superuser.get(f"{url}?q={term}").context["cl"].result_list] == ["my-key"]

    def test_the_filters_of_lists_work(self, superuser: Client) -> None:
        place()
        travel()
        client = ApiClient.objects.get()

        for label, query, rows in (
            ("orders.order", "status__exact=rejected", 1),
            ("orders.order", f"client__id__exact={client.pk}", 1),
            ("orders.order", "status__exact=pending", 0),
            ("messaging.processedmessage", "consumer=orders", 1),
            ("inventory.stockmovement", "kind__exact=reserve", 0),
        ):
            page = superuser.get(f"{address(label, 'changelist')}?{query}")
            assert len(page.context["cl"].result_list) == rows, query

    def test_the_scene_has_travelled(self, db: None) -> None:
        """The scene of these tests is what the flow would leave."""
        place()
        travel()

        assert OutboxMessage.objects.filter(receipt__isnull=False).count() == 2
        assert ProcessedMessage.objects.count() == 2
        assert wanting_stock(Order.objects.get().pk, quantity=1).message_id is not None
