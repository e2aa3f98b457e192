"""What an operator's browser may post, by mistake or on purpose: refused with an answer, and nothing is changed."""

from uuid import UUID

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from inventory.models import StockMovement
from messaging.models import DeadLetter, OutboxPending
from tests.admin.conftest import Login
from tests.admin.scene import wanting_stock
from tests.factories import DeadLetterFactory, OutboxPendingFactory

REASON = {"reason": "the SKU exists now"}
LISTS = ("messaging_deadletter", "messaging_outboxmessage", "messaging_parkedmessage", "messaging_processedmessage")


def replay_page(letter: DeadLetter) -> str:
    return reverse("admin:messaging_deadletter_replay", args=[letter.pk])


def nothing_was_replayed() -> None:
    assert not DeadLetter.objects.filter(resolved_at__isnull=False).exists()
    assert not StockMovement.objects.exists()
    assert not LogEntry.objects.exists()


class TestManyRowsSelected:
    @pytest.mark.parametrize("name", LISTS)
    @pytest.mark.parametrize("action", ["delete_selected", "replay", "", "__class__"])
    def test_are_refused_ten_thousand_at_a_time(
        self, superuser: Client, mended: DeadLetter, name: str, action: str
    ) -> None:
        chosen = {"action": action, "_selected_action": [str(mended.pk)] * 10_000, "post": "yes", "select_across": "1"}

        answer = superuser.post(reverse(f"admin:{name}_changelist"), chosen)

        assert answer.status_code == 400
        assert DeadLetter.objects.count() == 1
        nothing_was_replayed()

    @pytest.mark.parametrize("name", LISTS)
    @pytest.mark.parametrize("action", ["delete_selected", "replay", "", "__class__"])
    def test_have_no_action_that_would_do_anything_to_them(
        self, superuser: Client, mended: DeadLetter, name: str, action: str
    ) -> None:
        OutboxPendingFactory(parked=True)
        chosen = {"action": action, "_selected_action": [str(mended.pk), "x", "0"], "select_across": "1", "post": "yes"}

        answer = superuser.post(reverse(f"admin:{name}_changelist"), chosen)

        assert answer.status_code in (200, 302, 403)
        assert DeadLetter.objects.count() == OutboxPending.objects.exclude(parked_at=None).count() == 1
        nothing_was_replayed()


class TestAReplay:
    def test_with_an_expired_session_leads_to_the_login_and_does_nothing(
        self, login: Login, mended: DeadLetter
    ) -> None:
        client = login("replay_deadletter")
        assert client.get(replay_page(mended)).status_code == 200
        Session.objects.all().delete()

        answer = client.post(replay_page(mended), REASON)

        assert (answer.status_code, answer["Location"].split("?")[0]) == (302, reverse("admin:login"))
        nothing_was_replayed()

    def test_by_somebody_who_lost_the_permission_meanwhile_does_nothing(self, login: Login, mended: DeadLetter) -> None:
        client = login("replay_deadletter")
        assert client.get(replay_page(mended)).status_code == 200

        User.objects.get(username="olga").user_permissions.clear()

        assert client.post(replay_page(mended), REASON).status_code == 403
        nothing_was_replayed()

    @pytest.mark.parametrize("method", ["put", "patch", "delete", "options", "trace"])
    def test_by_any_other_method_does_nothing(self, login: Login, mended: DeadLetter, method: str) -> None:
        client = login("replay_deadletter")

        getattr(client, method)(replay_page(mended), **({} if method == "trace" else {"data": "reason=x"}))

        nothing_was_replayed()

    def test_with_its_reason_in_the_address_does_nothing(self, login: Login, mended: DeadLetter) -> None:
        login("replay_deadletter").get(replay_page(mended) + "?reason=because&post=yes")

        nothing_was_replayed()

    def test_of_markup_shows_it_as_text(self, login: Login, order_id: UUID) -> None:
        script = "<script>alert(1)</script>"
        letter = DeadLetterFactory(
            value=script.encode(), key=script.encode(), detail=script, partition_key=script, consumer="inventory"
        )
        client = login("replay_deadletter")

        pages = [
            client.get(replay_page(letter)),
            client.get(reverse("admin:messaging_deadletter_change", args=[letter.pk])),
            client.get(reverse("admin:messaging_deadletter_changelist")),
            client.post(replay_page(letter), {"reason": script}, follow=True),
        ]

        for page in pages:
            assert page.status_code == 200
            assert "<script>alert" not in page.content.decode()

    def test_with_markup_as_its_reason_is_noted_as_text(self, login: Login, superuser: Client, order_id: UUID) -> None:
        letter = wanting_stock(order_id, quantity=1)
        login("replay_deadletter").post(replay_page(letter), {"reason": "<script>alert(1)</script>"})

        shown = superuser.get("/admin/admin/logentry/").content.decode()

        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
        assert "<script>alert" not in shown
