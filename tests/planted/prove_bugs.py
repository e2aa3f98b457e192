"""Bugs of what heals and cleans up."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db import connection

from messaging.models import AuditMark, OutboxMessage
from messaging.produce import queue
from messaging.prove import repair, retention
from tests.planted.bug import Bug, Patch, declare
from tests.planted.prove_scenarios import (
    a_consumer_is_down_for_longer_than_the_retention,
    a_message_that_was_put_back_turns_up_after_all,
    an_unclean_leader_election,
)

BUGS: list[Bug] = []
bug = partial(declare, BUGS)


@bug(
    saved_by="unclean.leader.election.enable=false; and if it happens all the same, `audit --repair`",
    scenario=an_unclean_leader_election,
    caught_by="I1 I8 I11",
)
def unclean_election_without_repair(patch: Patch) -> None:
    """An unclean leader election happens and nobody repairs."""
    patch.setattr(repair, "repair", lambda found: 0)


@bug(
    saved_by="the same message under the same id",
    scenario=a_message_that_was_put_back_turns_up_after_all,
    caught_by="I12",
)
def repair_that_makes_a_new_message_id(patch: Patch) -> None:
    """Repair gives the message a new id."""
    requeue = queue.requeue

    def reborn(lost: Sequence[queue.Acknowledged]) -> list[int]:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE outbox_message SET message_id = gen_random_uuid() WHERE id = ANY(%s)",
                [[report.outbox_id for report in lost]],
            )
        return requeue(lost)

    patch.setattr(queue, "requeue", reborn)


@bug(
    saved_by="an acknowledged message stays in the outbox until every subscriber has taken it",
    scenario=an_unclean_leader_election,
    caught_by="I1 I11",
)
def row_deleted_when_it_is_acknowledged(patch: Patch) -> None:
    """The outbox row is deleted with the acknowledgement, as most outboxes do."""
    settle = queue.settle

    def and_delete(acknowledged: Sequence[queue.Acknowledged]) -> None:
        settle(acknowledged)
        OutboxMessage.objects.filter(pk__in=[report.outbox_id for report in acknowledged]).delete()

    patch.setattr(queue, "settle", and_delete)


@bug(
    saved_by="prune stays below every subscriber's audit mark",
    scenario=a_consumer_is_down_for_longer_than_the_retention,
    caught_by="I1 I11",
)
def prune_that_outruns_the_subscribers(patch: Patch) -> None:
    """Prune goes by age alone."""
    prune = retention.prune

    def by_age(**arguments: Any) -> Any:
        AuditMark.objects.update(confirmed_to=2**60)
        return prune(**arguments)

    patch.setattr(retention, "prune", by_age)
