"""COMMIT waits for its synchronous standby as long as it takes: an order is not accepted that only the primary has."""

import threading
from collections.abc import Iterator

import pytest
from django.db import connection

from messaging.store.postgres_checks import examine_database
from orders.models import Order
from tests.factories import ApiClientFactory, LineFactory, StockItemFactory, place
from tests.flow_tools import wait_until

LIMIT_SECONDS = 1.0  # stands for the 60 s of config/settings.py


@pytest.fixture
def standby_away(committed_db: None) -> Iterator[None]:
    """PostgreSQL waits for a standby that is not there."""
    try:
        ask("ALTER SYSTEM SET synchronous_standby_names = 'away'", "SELECT pg_reload_conf()")
        wait_until(lambda: ask("SHOW synchronous_standby_names") == "away", what="the standby is asked for")
        yield
    finally:
        standby_given_up()


def standby_given_up() -> None:
    ask("ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
    wait_until(lambda: ask("SHOW synchronous_standby_names") == "", what="the standby is not asked for any more")


def ask(*statements: str) -> object:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.fetchone()[0]


class TestAnOrderWhoseStandbyIsAway:
    def test_is_not_answered_before_the_standby_has_it_whatever_the_time_limit(
        self, committed_db: None, request: pytest.FixtureRequest
    ) -> None:
        line, client = LineFactory(sku=StockItemFactory().sku), ApiClientFactory()
        request.getfixturevalue("standby_away")

        def order() -> None:
            ask(f"SET statement_timeout = '{LIMIT_SECONDS}s'", "SHOW statement_timeout")
            place(line, client=client)
            connection.close()

        web = threading.Thread(target=order, daemon=True)
        web.start()
        wait_until(
            lambda: ask("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == 1,
            what="COMMIT waits",
        )

        web.join(2 * LIMIT_SECONDS)
        assert web.is_alive()
        assert not Order.objects.exists()  # nobody sees it, this connection included
        standby_given_up()
        web.join(10)
        assert not web.is_alive()
        assert Order.objects.count() == 1


@pytest.mark.usefixtures("standby_away")
class TestAConnectionThatDoesNotWaitForTheStandby:
    @pytest.mark.parametrize("word", ["local", "remote_write"])
    def test_is_found_by_the_doctor(self, word: str) -> None:
        ask(f"SET synchronous_commit = '{word}'", "SHOW synchronous_commit")
        try:
            (found,) = examine_database()
        finally:
            ask("RESET synchronous_commit", "SHOW synchronous_commit")

        assert (found.id, found.found) == ("P-SYNCHRONOUS_COMMIT", f"synchronous_commit = {word}")
