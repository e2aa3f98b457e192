"""The reader: which offsets are committed, and when."""

import itertools
import uuid

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from django.test import override_settings

from messaging.consume import reader as reader_module
from messaging.consume.reader import Reader
from messaging.envelope import Envelope, Record
from messaging.errors import FatalClientError
from tests.consume.messages import TOPIC, placed
from tests.flow_tools import Flow, lag, partition_of, produce_envelope, wait_until

INVENTORY = "inventory"


def message_of(*, partition: int) -> Envelope:
    """A message of an order whose key goes to this partition."""
    order_ids = (uuid.uuid4() for _ in itertools.count())
    return placed(order_id=next(one for one in order_ids if partition_of(str(one)) == partition))


def next_records(reader: Reader) -> list[Record]:
    records: list[Record] = []
    wait_until(lambda: records.extend(reader.next_batch(1)) or records, what="a batch came")
    return records


class Wrapped:
    """The client, of which a test replaces one method."""

    def __init__(self, client: Consumer) -> None:
        self._client = client

    def __getattr__(self, name: str) -> object:
        return getattr(self._client, name)


class TestOffsetsOfWhatIsHandled:
    def test_are_committed_together_and_when_the_topic_falls_quiet(self, flow: Flow) -> None:
        reader = flow.reader(INVENTORY)
        produce_envelope(TOPIC, placed())
        reader.handled(next_records(reader))
        assert lag(INVENTORY) == 0, "the first commit is due at once"
        produce_envelope(TOPIC, placed())
        reader.handled(next_records(reader))

        wait_until(lambda: reader.next_batch(1) == [] and lag(INVENTORY) == 0, what="the rest was committed", seconds=5)

    def test_are_committed_before_the_member_leaves(self, flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reader_module, "COMMIT_SECONDS", 3600)
        reader = flow.reader(INVENTORY)
        for _ in range(2):
            produce_envelope(TOPIC, placed())
            reader.handled(next_records(reader))
        assert lag(INVENTORY) == 1, "the second commit is not due"

        flow.close()

        assert lag(INVENTORY) == 0

    def test_are_committed_again_when_kafka_refused_them(self, flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
        reader = flow.reader(INVENTORY)
        produce_envelope(TOPIC, placed())
        records = next_records(reader)

        class Refusing(Wrapped):
            """Its commits fail as they do in a rebalance."""

            def commit(self, **_: object) -> list[TopicPartition]:
                raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION))

        with monkeypatch.context() as patch:
            patch.setattr(reader, "_consumer", Refusing(reader._consumer))
            reader.handled(records)
        assert lag(INVENTORY) == 1

        wait_until(lambda: reader.next_batch(1) == [] and lag(INVENTORY) == 0, what="it was committed", seconds=10)

    def test_are_forgotten_when_the_partition_was_lost(self, flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reader_module, "COMMIT_SECONDS", 3600)
        reader = flow.reader(INVENTORY)
        for _ in range(2):
            produce_envelope(TOPIC, placed())
            reader.handled(records := next_records(reader))
        lost = [TopicPartition(record.topic, record.partition) for record in records]

        reader._on_lost(reader._consumer, lost)
        flow.close()

        assert lag(INVENTORY) == 1


class Silent(Wrapped):
    """It reads nothing any more and does not say so."""

    def poll(self, timeout: float) -> None:
        self._client.pause(self._client.assignment())
        self._client.poll(timeout)


class SilentInOne(Wrapped):
    """It reads nothing any more of one partition, and goes on with the others."""

    def __init__(self, client: Consumer, place: TopicPartition) -> None:
        super().__init__(client)
        client.pause([place])


class TestAClientThatHasGoneBlind:
    @pytest.fixture(autouse=True)
    def _impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reader_module, "QUIET_SECONDS", 0.5)
        monkeypatch.setattr(reader_module, "SUSPECT_SECONDS", 0.5)

    def test_is_given_up_when_another_one_reads_what_it_does_not(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reader = flow.reader(INVENTORY)
        produce_envelope(TOPIC, placed())
        reader.handled(next_records(reader))
        monkeypatch.setattr(reader, "_consumer", Silent(reader._consumer))
        produce_envelope(TOPIC, placed())

        with pytest.raises(FatalClientError, match=f"another one reads {TOPIC}"):
            wait_until(lambda: reader.next_batch(0.1), what="it is given up")

    def test_is_given_up_for_one_partition_while_the_others_flow(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reader = flow.reader(INVENTORY)
        blind, others = message_of(partition=0), [message_of(partition=n % 2 + 1) for n in range(200)]
        produce_envelope(TOPIC, message_of(partition=0))
        reader.handled(next_records(reader))
        monkeypatch.setattr(reader, "_consumer", SilentInOne(reader._consumer, TopicPartition(TOPIC, 0)))
        produce_envelope(TOPIC, blind)

        def read_on() -> bool:
            produce_envelope(TOPIC, others.pop())
            reader.handled(next_records(reader))
            return False

        with pytest.raises(FatalClientError, match=rf"another one reads {TOPIC}\[0\]"):
            wait_until(read_on, what="it is given up")

    def test_is_told_from_one_that_has_read_everything(self, flow: Flow) -> None:
        reader = flow.reader(INVENTORY)
        produce_envelope(TOPIC, placed())
        reader.handled(next_records(reader))

        for _ in range(30):
            assert reader.next_batch(0.1) == []
        produce_envelope(TOPIC, placed())
        assert len(next_records(reader)) == 1

    def test_is_told_from_one_that_nobody_answers(self, flow: Flow) -> None:
        reader = flow.reader(INVENTORY)
        produce_envelope(TOPIC, placed())
        reader.handled(next_records(reader))

        with override_settings(KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1"):
            for _ in range(10):
                assert reader.next_batch(0.1) == []
