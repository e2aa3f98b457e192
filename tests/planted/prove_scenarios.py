"""What happens to a message that Kafka has lost, or that is pruned."""

from faults import losses
from messaging.models import OutboxMessage
from messaging.prove import repair, retention
from messaging.prove.audit import audit
from messaging.registry import topics
from tests.consume.messages import TOPIC
from tests.factories import LineFactory, place
from tests.flow_tools import envelope_of, produce_envelope, skip_what_the_log_holds
from tests.planted.stage import Expected, Stage, drain
from tests.prove.test_retention import grow_older


def an_unclean_leader_election(stage: Stage) -> Expected:
    """A broker is elected leader that lacks what was acknowledged."""

    def orders() -> None:
        for _ in range(6):
            place(LineFactory(sku="SKU-A"))
        stage.flow.relay_all()

    # A broker that lost power may have forgotten which records were deleted: nothing may ever have stood there.
    for declared in topics():
        losses.make_again(stage.system, declared.name)
    losses.elect_uncleanly(stage.system, TOPIC, between=orders)
    drain(stage)
    repair.repair(audit().losses)
    drain(stage)
    return Expected(kafka_may_lose=True)


def a_message_that_was_put_back_turns_up_after_all(stage: Stage) -> Expected:
    """A message that was put back turns up after all."""
    place(LineFactory(sku="SKU-A"))
    stage.flow.relay_all()
    late = envelope_of(OutboxMessage.objects.get().message_id)
    skip_what_the_log_holds()
    repair.repair(audit().losses)
    drain(stage)
    produce_envelope(TOPIC, late)
    drain(stage)
    return Expected()


def a_consumer_is_down_for_longer_than_the_retention(stage: Stage) -> Expected:
    """A consumer is down for longer than the retention, then the log loses its records."""
    place(LineFactory(sku="SKU-A"))
    stage.flow.relay_all()
    audit(new_only=True)
    audit(new_only=True)
    grow_older(100)
    retention.prune()
    losses.delete_records(stage.system, TOPIC)
    repair.repair(audit().losses)
    drain(stage)
    return Expected(kafka_may_lose=True)
