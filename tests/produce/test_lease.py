"""The lease of the queue's shards."""

import pytest
from django.db import connection

from messaging.produce import lease
from messaging.produce.shards import SHARDS

pytestmark = pytest.mark.usefixtures("committed_db")

ALL = list(range(SHARDS))


def let_leases_run_out() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE relay_shard SET leased_until = clock_timestamp() - interval '1 second'")


class TestALease:
    def test_is_held_by_one_relay_at_a_time(self) -> None:
        assert lease.hold("first") == ALL
        assert lease.hold("second") == []

    def test_is_renewed_by_its_owner(self) -> None:
        lease.hold("first")

        assert lease.hold("first") == ALL

    def test_is_free_at_once_when_its_owner_lets_go(self) -> None:
        lease.hold("first")
        lease.release("first")

        assert lease.hold("second") == ALL

    def test_of_a_relay_that_died_runs_out_by_the_database_s_clock(self) -> None:
        lease.hold("died")
        let_leases_run_out()

        assert lease.hold("second") == ALL

    def test_that_ran_out_and_was_taken_is_not_given_back(self) -> None:
        lease.hold("paused")
        let_leases_run_out()
        lease.hold("second")

        assert lease.hold("paused") == []
