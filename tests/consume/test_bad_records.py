"""Anything in the topic: what is not ours becomes exactly one dead letter, and the next one flows."""

import pytest
from confluent_kafka.admin import AdminClient
from django.core.management import call_command
from pytest_django import DjangoDbBlocker

from messaging.models import DeadLetter
from tests.consume.bad_records import CORRUPT, GOOD_ALL_THE_SAME, INVALID_PAYLOAD, UNKNOWN_TYPE, UNREADABLE
from tests.consume.fates import BY_THE_NEXT, BY_THE_RECORD, INITIAL, Fate, assert_one_dead_letter, fates_of
from tests.flow_tools import Flow, skip_what_the_log_holds

# The module's fixture does the work; but without this mark, run alone, pytest-django makes no test database.
pytestmark = pytest.mark.django_db

Reason = DeadLetter.Reason
Fates = dict[str, Fate]


@pytest.fixture(scope="module")
def fates(kafka: AdminClient, django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Fates:
    """Every record of the catalogue, consumed together. Rows are read once, so each test only looks at its own."""
    catalogue = UNREADABLE | CORRUPT | UNKNOWN_TYPE | INVALID_PAYLOAD | GOOD_ALL_THE_SAME
    with django_db_blocker.unblock():
        skip_what_the_log_holds()
        flow = Flow()
        try:
            found = fates_of(catalogue, flow)
        finally:
            flow.close()
            call_command("flush", verbosity=0, interactive=False)
    return found


def ended_as_one_dead_letter(fate: Fate, *, reason: str) -> None:
    """Kept to the byte, once and with its reason; nothing of it was done, and the next message was."""
    assert_one_dead_letter(fate.letters, fate.record, reason=reason)
    assert (fate.parked, fate.replies) == (0, 0)
    assert (fate.on_hand, fate.movements) == (INITIAL - BY_THE_NEXT, 1)
    assert fate.next_was_applied


class TestARecordThatIsNotOurs:
    @pytest.mark.parametrize("name", UNREADABLE)
    def test_becomes_one_dead_letter_and_the_next_one_flows(self, fates: Fates, name: str) -> None:
        ended_as_one_dead_letter(fates[name], reason=Reason.UNREADABLE)

        assert not fates[name].taken

    @pytest.mark.parametrize("name", CORRUPT)
    def test_whose_payload_was_changed_on_the_way_is_corrupt(self, fates: Fates, name: str) -> None:
        ended_as_one_dead_letter(fates[name], reason=Reason.CORRUPT)


class TestAMessageOfATypeThatNobodyKnows:
    @pytest.mark.parametrize("name", UNKNOWN_TYPE)
    def test_becomes_one_dead_letter_and_is_never_skipped(self, fates: Fates, name: str) -> None:
        ended_as_one_dead_letter(fates[name], reason=Reason.UNKNOWN_TYPE)

        assert fates[name].taken == 1


class TestAMessageThatDoesNotFitTheSchema:
    @pytest.mark.parametrize("name", INVALID_PAYLOAD)
    def test_becomes_one_dead_letter_and_moves_no_stock(self, fates: Fates, name: str) -> None:
        ended_as_one_dead_letter(fates[name], reason=Reason.INVALID_PAYLOAD)

        assert fates[name].taken == 1


class TestAnOddMessage:
    @pytest.mark.parametrize("name", GOOD_ALL_THE_SAME)
    def test_is_handled_once(self, fates: Fates, name: str) -> None:
        fate = fates[name]

        assert (fate.letters, fate.parked, fate.taken, fate.replies) == ([], 0, 1, 1)
        assert (fate.on_hand, fate.movements) == (INITIAL - BY_THE_RECORD - BY_THE_NEXT, 2)
        assert fate.next_was_applied
