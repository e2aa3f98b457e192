"""The audit's deep part: every receipt is held against the log, and every record of the log against the outbox."""

import uuid
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from messaging.models import OutboxMessage, OutboxReceipt, ProcessedMessage
from messaging.produce.relay import Relay
from messaging.prove.audit import audit
from messaging.prove.kafka_log import LogReader
from messaging.registry import Subscription, topics
from messaging.store.kafka import admin_client
from messaging.store.topics import create, missing
from orders.models import Order
from orders.services import cancel_order
from tests.consume.messages import TOPIC, placed
from tests.factories import LineFactory, StockItemFactory, place
from tests.flow_tools import Flow, produce_envelope, produce_raw, skip_what_the_log_holds, wait_until


@pytest.fixture
def stocked(flow: Flow) -> Flow:
    StockItemFactory(sku="SKU-A", initial=100)
    return flow


@pytest.fixture
def settled(stocked: Flow) -> Flow:
    """Three orders that went the whole way: three messages in each topic."""
    for _ in range(3):
        place(LineFactory(sku="SKU-A"))
    stocked.settle_everything()
    return stocked


def delete_records() -> None:
    """Kafka removes all that the topic of the orders holds, as retention does."""
    with LogReader() as log:
        ends = [TopicPartition(*at, log.bounds(at)[1]) for at in log.partitions([TOPIC])]
    admin = admin_client()  # kept: without it the answers never come
    for deleted in admin.delete_records([end for end in ends if end.offset > 0]).values():
        deleted.result(30)


def delete_topic() -> None:
    admin = admin_client()
    admin.delete_topics([TOPIC], operation_timeout=30)[TOPIC].result(30)
    wait_until(lambda: TOPIC not in admin.list_topics(timeout=10).topics, what="the topic is gone")


def create_topic() -> None:
    admin = admin_client()

    def is_there() -> bool:
        # While the deletion is not everywhere yet, Kafka says that it exists, and it does not.
        create(admin, missing(admin, topics()))
        return not missing(admin, topics())

    wait_until(is_there, what="the topic is there again")
    skip_what_the_log_holds()


def ids(source: str = "orders") -> set[str]:
    return {str(id_) for id_ in OutboxMessage.objects.filter(source=source).values_list("message_id", flat=True)}


def named(entries: list[str] | None) -> list[str]:
    assert entries is not None
    return [entry.split()[0] for entry in entries]


class TestARecordThatTheLogHasLetGo:
    def test_is_no_failure_when_its_message_was_taken(self, settled: Flow) -> None:
        delete_records()

        report = audit(deep=True)

        assert report.adds_up, report.as_json()
        assert set(named(report.gone_from_log)) == ids()
        assert report.in_log == 3
        assert report.acknowledged == 6

    def test_is_lost_and_named_once_when_its_message_was_not_taken(self, stocked: Flow) -> None:
        place(LineFactory(sku="SKU-A"))
        stocked.relay_all()
        delete_records()

        report = audit(deep=True)

        assert set(named(report.lost)) == ids()
        assert len(report.lost) == 1
        assert report.gone_from_log == []

    def test_is_lost_when_another_payload_was_taken_under_its_id(self, settled: Flow) -> None:
        other = ProcessedMessage.objects.filter(consumer="inventory").latest("id")
        ProcessedMessage.objects.filter(pk=other.pk).update(payload_sha256="0" * 64)
        delete_records()

        report = audit(deep=True)

        assert named(report.lost) == [str(other.message_id)]
        assert len(report.gone_from_log or []) == 2

    def test_is_lost_while_one_of_its_subscribers_has_not_taken_it(self, settled: Flow, settings: Any) -> None:
        mail = Subscription(consumer="mail", topics=(TOPIC,), handler="inventory.reservations.handle")
        settings.MESSAGING_SUBSCRIPTIONS = [*settings.MESSAGING_SUBSCRIPTIONS, mail]
        delete_records()

        report = audit(deep=True)

        assert set(named(report.lost)) == ids()
        assert len(report.lost) == 3
        assert report.gone_from_log == []


class TestATopicThatWasMadeAgain:
    def test_holds_one_message_where_another_was_acknowledged_before(self, stocked: Flow) -> None:
        """A cancellation has its order's key, so each is the first of the same partition."""
        delete_topic()
        create_topic()
        stocked.relay = Relay()
        place(LineFactory(sku="SKU-A"))
        stocked.settle_everything()
        stocked.close()
        [first] = ids()

        delete_topic()
        while_away = audit(deep=True)
        create_topic()
        stocked.relay = Relay()
        order = Order.objects.get()
        cancel_order(client_id=order.client_id, order_id=order.pk)
        stocked.settle_everything()
        report = audit(deep=True)

        places = OutboxReceipt.objects.filter(message__source="orders").values_list("partition", "offset")
        assert len(places) == 2
        assert len(set(places)) == 1
        for each in (while_away, report):
            assert each.adds_up, each.as_json()
            assert named(each.gone_from_log) == [first]
        assert (while_away.in_log, report.in_log) == (1, 3)


class TestARecordThatNobodyWrote:
    def test_is_listed_with_its_place_and_fails_nothing(self, settled: Flow) -> None:
        stranger = placed()
        produce_envelope(TOPIC, stranger)
        partition, offset = produce_raw(TOPIC, key=b"k", value=b"?")

        report = audit(deep=True)

        assert report.adds_up
        assert str(stranger.message_id) in named(report.unknown_in_log)
        place_of_it = f"{TOPIC}[{partition}]@{offset}"
        assert any(entry.startswith("no id") and place_of_it in entry for entry in report.unknown_in_log or [])
        assert not ids() & set(named(report.unknown_in_log))

    def test_is_not_told_from_one_that_was_pruned_where_it_is_old(self, settled: Flow, settings: Any) -> None:
        stranger = placed(message_id=uuid.uuid4())
        produce_envelope(TOPIC, stranger)
        settings.OUTBOX_RETENTION_DAYS = 1  # so that `prune` may have removed what is older than a moment

        assert audit(deep=True).unknown_in_log == []
