"""However often a POST is repeated, and whatever happens between, its key makes at most one order."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from pydantic import ValidationError

from orders.models import Order
from orders.services import place_order
from tests.api_tools import Caller, problem_of, rows_written
from tests.factories import ApiClientFactory
from tests.flow_tools import at_once, held_up_at, wait_until

ONE_ORDER = {
    "orders_order": 1,
    "orders_orderline": 1,
    "idempotency_key": 1,
    "outbox_message": 1,
    "outbox_pending": 1,
}


class TestARepeatedPost:
    def test_gets_the_stored_answer_and_is_marked_as_replayed(self, caller: Caller) -> None:
        first, second = caller.place(key="k"), caller.place(key="k")

        assert (first.status_code, second.status_code) == (201, 201)
        assert second.content == first.content
        assert "Idempotent-Replayed" not in first
        assert second["Idempotent-Replayed"] == "true"
        assert rows_written() == ONE_ORDER

    def test_gets_the_first_answer_also_when_the_order_has_moved_on(self, caller: Caller) -> None:
        first = caller.place(key="k")
        Order.objects.update(status=Order.Status.CONFIRMED)

        assert caller.place(key="k").content == first.content

    def test_with_another_body_is_refused_and_leaves_the_first_order_alone(self, caller: Caller) -> None:
        first = caller.place(key="k")

        response = caller.place({"lines": [{"sku": "SKU-0001", "quantity": 3}]}, key="k")

        assert problem_of(response) == (422, "idempotency-key-reused")
        assert caller.place(key="k").content == first.content
        assert rows_written() == ONE_ORDER

    def test_of_another_client_makes_an_order_of_its_own(self, caller: Caller) -> None:
        other = Caller()

        ours, theirs = caller.place(key="k"), other.place(key="k")

        assert theirs.status_code == 201
        assert "Idempotent-Replayed" not in theirs
        assert json.loads(ours.content)["id"] != json.loads(theirs.content)["id"]
        assert caller.place(key="k").content == ours.content
        assert other.place(key="k").content == theirs.content

    def test_with_a_key_in_other_capitals_makes_another_order(self, caller: Caller) -> None:
        caller.place(key="k")

        assert "Idempotent-Replayed" not in caller.place(key="K")

    def test_of_a_refused_one_may_use_its_key_again(self, caller: Caller) -> None:
        assert caller.place({"lines": []}, key="k").status_code == 422

        assert caller.place(key="k").status_code == 201


class TestParallelPosts:
    def test_with_one_key_make_one_order_and_one_message(self, caller: Caller) -> None:
        responses = at_once([lambda: caller.place(key="k")] * 50)

        placed = [response for response in responses if response.status_code == 201]
        assert len({response.content for response in placed}) == 1
        assert sum("Idempotent-Replayed" not in response for response in placed) == 1
        for response in responses:
            assert response in placed or problem_of(response) == (409, "request-in-flight")
        assert rows_written() == ONE_ORDER

    def test_with_a_key_each_make_an_order_each(self, caller: Caller) -> None:
        responses = at_once([caller.place] * 20)

        assert {response.status_code for response in responses} == {201}
        assert rows_written() == dict.fromkeys(ONE_ORDER, 20)

    def test_that_cancel_one_order_write_one_message(self, caller: Caller) -> None:
        order_id = json.loads(caller.place().content)["id"]

        responses = at_once([lambda: caller.cancel(order_id)] * 20)

        assert {response.status_code for response in responses} == {202}
        assert rows_written()["outbox_message"] == 2


class TestAPostInFlight:
    def test_makes_a_second_one_come_back_later_rather_than_wait(self, caller: Caller) -> None:
        with ThreadPoolExecutor(1) as thread:
            with held_up_at("outbox_message"):
                first = thread.submit(lambda: at_once([lambda: caller.place(key="k")])[0])
                wait_until(lambda: _waiting_for_a_lock() == 1, what="the first POST is inside its transaction")

                second = caller.place(key="k")
            answer = first.result()

        assert problem_of(second) == (409, "request-in-flight")
        assert second["Retry-After"] == "1"
        assert answer.status_code == 201
        assert caller.place(key="k").content == answer.content
        assert rows_written() == ONE_ORDER


@pytest.fixture
def commit_fails(committed_db: None) -> Iterator[None]:
    """Every transaction that writes an order fails, and not before its COMMIT."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE FUNCTION refuse_commit() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN
                    IF TG_ARGV[0] = 'cut' THEN
                        PERFORM pg_terminate_backend(pg_backend_pid());
                    ELSE
                        RAISE EXCEPTION 'planted' USING ERRCODE = TG_ARGV[0];
                    END IF;
                    RETURN NULL;
                END $$
            """
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION refuse_commit CASCADE")


class TestAnOrderWithoutLines:
    def test_is_refused_by_the_service_too_before_anything_is_written(self, committed_db: None) -> None:
        with pytest.raises(ValidationError):
            place_order(client_id=ApiClientFactory().pk, idempotency_key="k", body_sha256="0" * 64, lines=[])

        assert rows_written() == {}


class TestAFailingCommit:
    @pytest.mark.parametrize(
        ("sqlstate", "expected"),
        [
            pytest.param("23514", (500, "internal"), id="a constraint"),
            pytest.param("40001", (503, "database-unavailable"), id="a serialization failure"),
            pytest.param("53100", (503, "database-unavailable"), id="a full disk"),
            pytest.param("57P01", (503, "database-unavailable"), id="a shutdown"),
            pytest.param("25006", (503, "database-unavailable"), id="a standby"),
            pytest.param("cut", (503, "database-unavailable"), id="a connection that dies"),
        ],
    )
    def test_is_never_answered_with_success_and_leaves_nothing(
        self, caller: Caller, commit_fails: None, sqlstate: str, expected: tuple[int, str]
    ) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f"""
                CREATE CONSTRAINT TRIGGER refuse_commit AFTER INSERT ON orders_order
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse_commit('{sqlstate}')
                """
            )
        failed = caller.place(key="k")
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER refuse_commit ON orders_order")

        assert problem_of(failed) == expected
        assert rows_written() == {}

        repeated = caller.place(key="k")
        assert repeated.status_code == 201
        assert "Idempotent-Replayed" not in repeated
        assert rows_written() == ONE_ORDER


def _waiting_for_a_lock() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])
