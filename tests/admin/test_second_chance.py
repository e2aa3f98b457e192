"""Replay from the admin: with permission and reason, once, and never without its audit row."""

import threading
from collections.abc import Sequence
from uuid import UUID

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection
from django.db.backends.postgresql.base import DatabaseWrapper
from django.test import Client
from django.urls import reverse

from inventory.models import StockItem, StockMovement
from messaging.admin.dead_letters import DeadLetterAdmin
from messaging.models import DeadLetter, OutboxPending
from tests.admin.conftest import Login
from tests.admin.scene import wanting_stock
from tests.factories import DeadLetterFactory, OutboxPendingFactory, OutboxReceiptFactory
from tests.flow_tools import at_once

REASON = {"reason": "the SKU exists now"}


def replay_page(letter: DeadLetter) -> str:
    return reverse("admin:messaging_deadletter_replay", args=[letter.pk])


def unpark_page(message_id: int) -> str:
    return reverse("admin:messaging_outboxmessage_replay", args=[message_id])


class TestADeadLetter:
    def test_shows_its_reason_and_its_bytes(self, superuser: Client) -> None:
        letter = DeadLetterFactory(
            value=b"\xff\x00<script>", key=None, headers=[["ce_id", b"\x80<b>".hex()], ["empty", None]]
        )

        shown = superuser.get(reverse("admin:messaging_deadletter_change", args=[letter.pk])).content.decode()

        assert "not a message of ours" in shown
        assert "This is not UTF-8." in shown
        assert "ff 00 3c 73 63 72 69 70 74 3e" in shown
        assert "..&lt;script&gt;" in shown
        assert "\\x80&lt;b&gt;" in shown
        assert "(null)" in shown
        assert "the record has none" in shown

    def test_shows_text_with_its_control_characters_written_out(self, superuser: Client) -> None:
        letter = DeadLetterFactory(value="gift\u202e<b>\x00".encode())

        shown = superuser.get(reverse("admin:messaging_deadletter_change", args=[letter.pk])).content.decode()

        assert "gift\\u202e&lt;b&gt;\\x00" in shown

    def test_that_is_long_is_cut_with_a_note(self, superuser: Client) -> None:
        letter = DeadLetterFactory(value=b"x" * 250_000)

        shown = superuser.get(reverse("admin:messaging_deadletter_change", args=[letter.pk])).content.decode()

        assert "250000 bytes, in hexadecimal" in shown
        assert "Shown up to 65536 characters." in shown
        assert "The first 2048 bytes." in shown

    def test_is_found_by_its_order_although_it_names_none(self, superuser: Client) -> None:
        message = OutboxReceiptFactory().message
        DeadLetterFactory.create_batch(2)
        letter = DeadLetterFactory(message_id=message.message_id)

        listed = superuser.get(f"/admin/messaging/deadletter/?q={message.partition_key}&state=open")

        assert listed.context["cl"].result_list == [letter]


class TestReplay:
    def test_whose_commit_got_no_answer_shows_what_holds(
        self, committed_db: None, login: Login, order_id: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        letter = wanting_stock(order_id, quantity=3)
        client = login("replay_deadletter")
        commit, unanswered = DatabaseWrapper._commit, []

        def commit_without_an_answer(self: DatabaseWrapper) -> None:
            commit(self)
            if not unanswered:
                unanswered.append(self)
                self.close()
                raise OperationalError("the server's answer was lost")

        monkeypatch.setattr(DatabaseWrapper, "_commit", commit_without_an_answer)

        page = client.post(replay_page(letter), REASON, follow=True).content.decode()

        assert unanswered
        assert "No answer from the database. What this page shows holds" in page
        letter.refresh_from_db()
        assert letter.resolved_at is not None
        assert StockMovement.objects.count() == LogEntry.objects.count() == 1
        assert client.post(replay_page(letter), REASON).status_code == 302
        assert StockMovement.objects.count() == LogEntry.objects.count() == 1

    def test_handles_the_message_and_notes_who_and_why(self, login: Login, mended: DeadLetter) -> None:
        answer = login("replay_deadletter").post(replay_page(mended), REASON, follow=True)

        mended.refresh_from_db()
        assert mended.resolved_at is not None
        assert StockItem.objects.get().on_hand == 7
        entry = LogEntry.objects.get()
        assert (entry.user.get_username(), entry.object_id) == ("olga", str(mended.pk))
        assert entry.get_change_message() == "Replay: the SKU exists now"
        assert "done, and noted with your reason" in answer.content.decode()

    def test_asks_first_and_a_get_changes_nothing(self, login: Login, mended: DeadLetter) -> None:
        client = login("replay_deadletter")

        for method in (client.get, client.head):
            answer = method(replay_page(mended), REASON)

            assert answer.status_code == 200
        mended.refresh_from_db()
        assert mended.resolved_at is None
        assert not LogEntry.objects.exists()

    @pytest.mark.parametrize("reason", [None, "", "   \n", "x" * 501, "nul\x00"])
    def test_wants_a_reason(self, reason: str | None, login: Login, mended: DeadLetter) -> None:
        answer = login("replay_deadletter").post(replay_page(mended), {} if reason is None else {"reason": reason})

        assert answer.status_code == 200
        assert answer.context["form"].errors["reason"]
        mended.refresh_from_db()
        assert mended.resolved_at is None

    def test_wants_its_permission(self, login: Login, mended: DeadLetter) -> None:
        client = login("replay_message")  # another one

        for answer in (client.get(replay_page(mended)), client.post(replay_page(mended), REASON)):
            assert answer.status_code == 403
            assert "messaging.replay_deadletter" in answer.content.decode()
        mended.refresh_from_db()
        assert mended.resolved_at is None
        assert "zl-replay" not in client.get(mended_page(mended)).content.decode()

    def test_is_refused_without_the_csrf_token(self, mended: DeadLetter) -> None:
        User.objects.create_superuser("root")
        client = Client(enforce_csrf_checks=True)
        client.force_login(User.objects.get())

        assert client.post(replay_page(mended), REASON).status_code == 403

    def test_clicked_twice_is_done_once(self, login: Login, mended: DeadLetter) -> None:
        client = login("replay_deadletter")

        client.post(replay_page(mended), REASON)
        again = client.post(replay_page(mended), REASON, follow=True)

        assert "no unresolved dead letter" in again.content.decode()
        assert StockMovement.objects.count() == LogEntry.objects.count() == 1
        assert "was resolved at" in client.get(replay_page(mended), follow=True).content.decode()

    def test_of_an_unknown_id_says_so(self, login: Login) -> None:
        client = login("replay_deadletter")

        for pk in ("999999", "9" * 30):
            answer = client.post(f"/admin/messaging/deadletter/{pk}/replay/", REASON, follow=True)
            assert f"There is no dead letter {pk}." in answer.content.decode()

    def test_that_fails_again_changes_nothing_and_says_why(self, login: Login) -> None:
        letter = DeadLetterFactory()

        answer = login("replay_deadletter").post(replay_page(letter), REASON, follow=True)

        assert "it still cannot be read" in answer.content.decode()
        letter.refresh_from_db()
        assert letter.resolved_at is None
        assert not LogEntry.objects.exists()

    def test_of_a_consumer_that_is_no_more_is_refused(self, login: Login, mended: DeadLetter) -> None:
        DeadLetter.objects.update(consumer="retired")

        answer = login("replay_deadletter").post(replay_page(mended), REASON, follow=True)

        assert "Not replayed, and nothing was changed" in answer.content.decode()
        assert "Traceback" not in answer.content.decode().split("messagelist")[1].split("</ul>")[0]

    def test_without_its_audit_row_is_undone(
        self, login: Login, mended: DeadLetter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_disk(*_: object) -> None:
            raise OSError("no space left")

        monkeypatch.setattr(DeadLetterAdmin, "log_change", no_disk)

        with pytest.raises(OSError, match="no space left"):
            login("replay_deadletter").post(replay_page(mended), REASON)

        mended.refresh_from_db()
        assert mended.resolved_at is None
        assert not StockMovement.objects.exists()


class TestTheAuditTrail:
    def test_lists_who_replayed_what_and_why(self, login: Login, superuser: Client, mended: DeadLetter) -> None:
        login("replay_deadletter").post(replay_page(mended), REASON)

        shown = superuser.get("/admin/admin/logentry/").content.decode()

        assert "olga" in shown
        assert "Replay: the SKU exists now" in shown
        assert mended_page(mended) in shown

    def test_keeps_the_user_whose_rows_it_holds(self, login: Login, superuser: Client, mended: DeadLetter) -> None:
        """Django deletes a user's audit rows with the user: so such a user is deactivated instead."""
        login("replay_deadletter").post(replay_page(mended), REASON)
        olga = User.objects.get(username="olga")

        answer = superuser.post(reverse("admin:auth_user_delete", args=[olga.pk]), {"post": "yes"})

        assert answer.status_code == 403
        assert LogEntry.objects.filter(user=olga).exists()


@pytest.mark.django_db(transaction=True)
class TestTwoOperators:
    def test_replay_at_once_and_one_is_told(self, committed_db: None, login: Login, order_id: UUID) -> None:
        letter = wanting_stock(order_id, quantity=3)

        answers = post_at_once(
            [login("replay_deadletter", name=name) for name in ("olga", "igor")], replay_page(letter)
        )

        assert sorted("done, and noted" in answer for answer in answers) == [False, True]
        assert sum("no unresolved dead letter" in answer or "was resolved" in answer for answer in answers) == 1
        assert StockMovement.objects.count() == LogEntry.objects.count() == 1

    def test_are_told_to_try_again_when_the_row_stays_locked(
        self, committed_db: None, login: Login, order_id: UUID, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        letter = wanting_stock(order_id, quantity=3)
        client = login("replay_deadletter")
        locked, done = threading.Event(), threading.Event()

        def hold() -> None:
            with connection.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute("SELECT FROM dead_letter FOR UPDATE")
                locked.set()
                done.wait()
                cursor.execute("ROLLBACK")
            connection.close()

        holder = threading.Thread(target=hold)
        holder.start()
        locked.wait()
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        answer = client.post(replay_page(letter), REASON)
        done.set()
        holder.join()
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '10s'")

        assert answer.status_code == 302
        assert "What this page shows holds" in client.get(answer["Location"]).content.decode()
        assert not LogEntry.objects.exists()


class TestAParkedMessage:
    def test_goes_back_into_the_queue_with_an_audit_row(self, login: Login) -> None:
        pending = OutboxPendingFactory(parked=True)

        login("replay_message").post(unpark_page(pending.pk), REASON)

        assert OutboxPending.objects.get().parked_at is None
        assert LogEntry.objects.get().get_change_message() == "Put back into the queue: the SKU exists now"

    def test_stays_parked_when_the_page_is_only_asked_for(self, login: Login) -> None:
        pending = OutboxPendingFactory(parked=True)
        client = login("replay_message")

        for method in (client.get, client.head):
            assert method(unpark_page(pending.pk), REASON).status_code == 200

        assert_still_parked()

    @pytest.mark.parametrize("reason", [None, "   \n", "x" * 501, "nul\x00"])
    def test_stays_parked_without_a_good_reason(self, login: Login, reason: str | None) -> None:
        pending = OutboxPendingFactory(parked=True)

        answer = login("replay_message").post(unpark_page(pending.pk), {} if reason is None else {"reason": reason})

        assert answer.context["form"].errors["reason"]
        assert_still_parked()

    def test_stays_parked_without_the_permission_the_token_or_the_session(self, login: Login) -> None:
        page = unpark_page(OutboxPendingFactory(parked=True).pk)

        assert login("replay_deadletter").post(page, REASON).status_code == 403
        without_a_token = Client(enforce_csrf_checks=True)
        without_a_token.force_login(User.objects.create_superuser("root"))
        assert without_a_token.post(page, REASON).status_code == 403
        expired = login("replay_message", name="igor")
        Session.objects.all().delete()
        assert expired.post(page, REASON)["Location"].split("?")[0] == reverse("admin:login")
        assert_still_parked()

    def test_of_an_unknown_id_says_so(self, login: Login) -> None:
        answer = login("replay_message").post(unpark_page(999_999), REASON, follow=True)

        assert "There is no outbox message 999999." in answer.content.decode()

    def test_is_put_back_once_by_two_operators_at_once(self, committed_db: None, login: Login) -> None:
        page = unpark_page(OutboxPendingFactory(parked=True).pk)

        answers = post_at_once([login("replay_message", name=name) for name in ("olga", "igor")], page)

        assert sorted("done, and noted" in answer for answer in answers) == [False, True]
        assert LogEntry.objects.count() == 1

    def test_alone_can_be_put_back(self, login: Login) -> None:
        client = login("replay_message")
        waiting, finished = OutboxPendingFactory().message, OutboxReceiptFactory().message

        for message, state in ((waiting, "pending"), (finished, "acknowledged")):
            asked = client.get(unpark_page(message.pk), follow=True).content.decode()
            answer = client.post(unpark_page(message.pk), REASON, follow=True).content.decode()

            assert f"the message is {state}, only a parked one" in asked
            assert "the message is not parked" in answer
            assert "zl-replay" not in answer
        assert not LogEntry.objects.exists()

    def test_shows_the_button_to_those_who_may(self, login: Login) -> None:
        message = OutboxPendingFactory(parked=True).message
        page = reverse("admin:messaging_outboxmessage_change", args=[message.pk])

        assert unpark_page(message.pk) in login("replay_message").get(page).content.decode()
        assert unpark_page(message.pk) not in login(name="igor").get(page).content.decode()


def post_at_once(clients: Sequence[Client], page: str) -> list[str]:
    """Each posts its reason to this page in the same moment. The pages that they are shown."""
    return at_once([lambda c=client: c.post(page, REASON, follow=True).content.decode() for client in clients])


def assert_still_parked() -> None:
    assert OutboxPending.objects.get().parked_at is not None
    assert not LogEntry.objects.exists()


def mended_page(letter: DeadLetter) -> str:
    return reverse("admin:messaging_deadletter_change", args=[letter.pk])
