"""The proof can say no: each number that does not add up, and each message that waits, denies it."""

from typing import Any

import pytest

from demo.proof import Proof

# 10 orders, each with a message to the stock and one back.
GOOD = {
    "accepted": 10,
    "final": 10,
    "confirmed": 7,
    "rejected": 2,
    "cancelled": 1,
    "written": 20,
    "acknowledged": 20,
    "in_log": 20,
    "applied": 20,
    "redelivered": 3,
    "pending": 0,
    "parked": 0,
    "dead_letters": 0,
    "lost": 0,
    "extra": 0,
    "stuck": 0,
    "stock_mismatches": 0,
    "ids": {},
    "log_ids": {},
}


def proof(*, unknown: tuple[str, ...] = (), **changes: Any) -> Proof:
    return Proof(GOOD | changes, (8.0, 15.0), list(unknown), [])


def false_sums(of: Proof) -> list[str]:
    return [sentence for sentence, adds_up in of.sums() if not adds_up]


class TestTheProof:
    def test_holds_where_everything_adds_up(self) -> None:
        assert proof().holds
        assert false_sums(proof()) == []
        assert proof().stuck == 0

    @pytest.mark.parametrize("count", ["accepted", "confirmed", "rejected", "cancelled", "final"])
    @pytest.mark.parametrize("difference", [-1, 1])
    def test_denies_orders_that_are_not_decided_one_by_one(self, count: str, difference: int) -> None:
        denied = proof(**{count: GOOD[count] + difference})

        assert not denied.holds
        (sentence,) = false_sums(denied)
        assert f"accepted {denied.report['accepted']} = confirmed" in sentence

    @pytest.mark.parametrize("count", ["written", "acknowledged", "in_log", "applied"])
    @pytest.mark.parametrize("difference", [-1, 1])
    def test_denies_messages_that_are_not_everywhere_once(self, count: str, difference: int) -> None:
        denied = proof(**{count: GOOD[count] + difference})

        assert not denied.holds
        (sentence,) = false_sums(denied)
        assert str(GOOD[count] + difference) in sentence

    def test_denies_stock_that_differs_from_its_ledger(self) -> None:
        denied = proof(stock_mismatches=1)

        assert not denied.holds
        assert false_sums(denied) == ["stock: initial + ledger = on hand for every SKU, 1 differ"]

    def test_denies_an_order_that_was_answered_and_is_not_in_the_database(self) -> None:
        denied = proof(unknown=("an-id",))

        assert not denied.holds
        assert false_sums(denied) == ["orders answered with 201 and not in the database: 1"]

    @pytest.mark.parametrize("count", ["stuck", "pending", "parked", "dead_letters"])
    def test_counts_all_that_waits_as_stuck(self, count: str) -> None:
        denied = proof(**{count: 2})

        assert denied.stuck == 2
        assert not denied.holds

    @pytest.mark.parametrize("count", ["lost", "extra"])
    def test_denies_what_is_lost_or_extra_although_every_sum_is_right(self, count: str) -> None:
        denied = proof(**{count: 1})

        assert false_sums(denied) == []
        assert not denied.holds
