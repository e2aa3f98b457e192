"""Moving messages to Kafka: nothing leaves the queue without the brokers' acknowledgement."""

import itertools
import threading
import uuid
from collections.abc import Iterable, Iterator

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from django.db import connection, connections, transaction
from django.test import override_settings
from psycopg.pq import TransactionStatus

from messaging.envelope import sha256
from messaging.errors import FatalClientError, ReplayRefused
from messaging.models import OutboxMessage, OutboxPending, OutboxReceipt
from messaging.produce import outbox, queue
from messaging.produce import relay as relay_module
from messaging.produce.publisher import Publisher
from messaging.produce.queue import Acknowledged, PendingMessage, Refused
from messaging.produce.relay import Relay
from messaging.produce.shards import SHARDS
from messaging.produce.weight import WEIGHT_BYTES
from messaging.prove.kafka_log import LogReader
from messaging.registry import Topic
from messaging.store.topics import missing, settings_of
from tests.factories import place
from tests.flow_tools import Flow, backlog, partition_of, wait_until
from tests.produce.test_outbox import Note


def append_notes(key: str, sequences: range) -> None:
    with transaction.atomic():
        outbox.append_all([outbox.Draft(Note(text=f"{key}{n}"), key, n) for n in sequences])


def keys_of(partition: int, *, count: int) -> list[str]:
    """Keys whose messages go to this partition of orders.events."""
    numbered = (f"key-{n}" for n in itertools.count())
    return list(itertools.islice((key for key in numbered if partition_of(key) == partition), count))


def append_streams(keys: Iterable[str], *, text: str = "") -> None:
    """The first message of each stream."""
    with transaction.atomic():
        outbox.append_all([outbox.Draft(Note(text=text or key), key, 1) for key in keys])


def wire_order(key: str) -> list[int]:
    """The sequences of a key's messages in the order in which the log holds them."""
    receipts = OutboxReceipt.objects.filter(message__partition_key=key, message__source="tests")
    return list(receipts.order_by("offset").values_list("message__sequence", flat=True))


class TestARound:
    def test_settles_what_the_brokers_acknowledged_with_its_place_in_the_log(self, flow: Flow) -> None:
        place()

        flow.relay_all()

        message = OutboxMessage.objects.select_related("receipt").get()
        with LogReader() as log:
            entries = {entry.offset: entry for entry in log.read((message.topic, message.receipt.partition))}
        entry = entries[message.receipt.offset]
        assert entry.message_id == str(message.message_id)
        assert entry.payload_sha256 == sha256(message.payload.encode())
        assert not OutboxPending.objects.exists()

    @override_settings(KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    def test_settles_nothing_and_spends_no_attempt_while_kafka_is_away(self, committed_db: None) -> None:
        place()
        stop = threading.Event()
        stop.set()
        relay = Relay()

        for _ in range(3):
            relay.round(shards=list(range(SHARDS)), wait=0.1)
        relay.shift(seconds=0, stop=stop)

        pending = OutboxPending.objects.get()
        assert (pending.attempts, pending.parked_at, pending.last_error) == (0, None, "")
        assert not OutboxReceipt.objects.exists()

    def test_publishes_a_row_whose_transaction_committed_after_a_younger_one(self, flow: Flow) -> None:
        drawn, commit = threading.Event(), threading.Event()

        def slow_transaction() -> None:
            try:
                with transaction.atomic():
                    outbox.append(Note(text="slow"), partition_key="slow", sequence=1)
                    drawn.set()
                    commit.wait(30)
            finally:
                connections.close_all()

        thread = threading.Thread(target=slow_transaction)
        thread.start()
        drawn.wait(30)
        append_notes("fast", range(1, 2))
        flow.relay_all()
        assert wire_order("fast") == [1]

        commit.set()
        thread.join()
        flow.relay_all()

        assert wire_order("slow") == [1]

    def test_keeps_each_stream_s_order_on_the_wire(self, flow: Flow) -> None:
        for key in ("a", "b", "c"):
            append_notes(key, range(1, 21))

        flow.relay_all()

        for key in ("a", "b", "c"):
            assert wire_order(key) == list(range(1, 21))

    def test_has_at_most_one_message_of_a_stream_in_flight(self, flow: Flow) -> None:
        append_notes("a", range(1, 4))
        append_notes("b", range(1, 4))
        published: list[tuple[str, int]] = []

        class Silent(Publisher):
            """Publishes for real, and keeps the reports to itself: they are still out."""

            def publish(self, message: PendingMessage) -> None:
                published.append((message.partition_key, message.sequence))
                super().publish(message)

            def collect(self, timeout: float) -> tuple[list[Acknowledged], list[Refused], list[int]]:
                return [], [], []

        relay = Relay(make_publisher=Silent)
        for _ in range(3):
            relay.round(shards=list(range(SHARDS)), wait=0)

        assert sorted(published) == [("a", 1), ("b", 1)]

    def test_finds_the_other_streams_behind_a_long_queue_of_one(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay_module, "PAGE", 100)  # so that the short stream is some pages away
        append_notes("long", range(1, 501))
        append_notes("short", range(1, 2))

        flow.relay.round(shards=list(range(SHARDS)), wait=0)
        wait_until(
            lambda: (flow.relay.round(shards=[], wait=0.1), wire_order("short"))[1],
            what="the short stream was published",
        )

        assert OutboxPending.objects.filter(message__partition_key="long").count() >= 499


class TestAMessageThatKafkaRefuses:
    @pytest.fixture
    def refused(self, flow: Flow) -> OutboxPending:
        append_notes("big", range(1, 3))
        append_notes("other", range(1, 2))
        # Past the check at write time, as an operator's hand could.
        OutboxMessage.objects.filter(partition_key="big", sequence=1).update(payload="x" * 1_100_000)
        wait_until(lambda: flow.relay.shift(seconds=0.3, stop=threading.Event()) and wire_order("other"), what="others")
        return OutboxPending.objects.get(message__partition_key="big", message__sequence=1)

    def test_parks_with_the_reason_while_its_stream_waits_and_others_flow(self, refused: OutboxPending) -> None:
        assert refused.parked_at is not None
        assert refused.attempts == 1
        assert "too large" in refused.last_error.lower()
        assert wire_order("big") == []
        assert wire_order("other") == [1]

    def test_is_published_under_the_same_id_when_it_was_mended_and_replayed(
        self, refused: OutboxPending, flow: Flow
    ) -> None:
        OutboxMessage.objects.filter(pk=refused.pk).update(payload='{"text":"small"}')

        queue.unpark(refused.pk)
        flow.relay_all()

        assert wire_order("big") == [1, 2]

    def test_is_not_replayed_twice(self, refused: OutboxPending) -> None:
        queue.unpark(refused.pk)

        with pytest.raises(ReplayRefused):
            queue.unpark(refused.pk)


class TestABatchThatKafkaRefuses:
    """A topic's max.message.bytes is of the batch: most of its messages are innocent."""

    @pytest.fixture
    def narrow(self, kafka: AdminClient) -> Iterator[Topic]:
        topic = Topic(f"narrow-{uuid.uuid4().hex[:8]}", partitions=1)
        config = settings_of(topic) | {"max.message.bytes": "20000"}
        for future in kafka.create_topics([NewTopic(topic.name, 1, 3, config=config)]).values():
            future.result(30)
        wait_until(lambda: not any(missing(kafka, [topic]) for _ in range(6)), what="every broker knows the topic")
        yield topic
        for future in kafka.delete_topics([topic.name]).values():
            future.result(30)

    def test_parks_the_one_that_is_too_large_and_no_other(self, flow: Flow, narrow: Topic) -> None:
        append_streams(f"key-{n}" for n in range(50))
        OutboxMessage.objects.update(topic=narrow.name, payload=f'{{"text":"{"x" * 1000}"}}')
        OutboxMessage.objects.filter(partition_key="key-25").update(payload=f'{{"text":"{"x" * 30_000}"}}')

        wait_until(
            lambda: (
                flow.relay.shift(seconds=0.3, stop=threading.Event())
                and not OutboxPending.objects.filter(parked_at=None).exists()
            ),
            what="all were acknowledged or parked",
        )

        parked = OutboxPending.objects.get()
        assert parked.message.partition_key == "key-25"
        assert (parked.attempts, "too large" in parked.last_error.lower()) == (1, True)
        assert OutboxReceipt.objects.count() == 49


class TestARelay:
    def test_builds_a_new_producer_when_its_own_has_died(self, flow: Flow) -> None:
        made: list[Publisher] = []

        class DiesOnce(Publisher):
            def __init__(self) -> None:
                super().__init__()
                made.append(self)

            def collect(self, timeout: float) -> tuple[list[Acknowledged], list[Refused], list[int]]:
                if made[0] is self:
                    raise FatalClientError("fenced")
                return super().collect(timeout)

        append_notes("a", range(1, 6))
        flow.relay = Relay(make_publisher=DiesOnce)

        flow.relay_all()

        assert len(made) == 2
        assert wire_order("a") == [1, 2, 3, 4, 5]

    def test_leaves_a_shard_alone_that_another_relay_works(self, flow: Flow) -> None:
        first, second = Relay(), Relay()
        started, stop = threading.Event(), threading.Event()

        def hold() -> None:
            try:
                started.set()
                first.shift(seconds=60, stop=stop)
            finally:
                connections.close_all()

        thread = threading.Thread(target=hold)
        thread.start()
        started.wait(30)
        wait_until(lambda: _owners() == {first.owner}, what="the first relay holds every shard")

        assert second.shift(seconds=1, stop=threading.Event()) is False

        stop.set()
        thread.join()
        assert second.shift(seconds=0, stop=threading.Event()) is True

    def test_is_harmless_beside_another_that_lost_its_lease(self, flow: Flow) -> None:
        append_notes("a", range(1, 51))
        paused = Relay()
        paused.round(shards=list(range(SHARDS)), wait=0)

        flow.relay_all()
        wait_until(lambda: not paused.round(shards=[], wait=0.1), what="the paused relay got its report")

        assert wire_order("a") == list(range(1, 51))
        assert OutboxReceipt.objects.count() == 50

    def test_keeps_no_transaction_open_while_it_waits_for_kafka(self, flow: Flow) -> None:
        states: set[tuple[bool, TransactionStatus]] = set()

        def look() -> None:
            # Django's word for it, and what PostgreSQL's client knows to be open.
            states.add((connection.in_atomic_block, connection.connection.info.transaction_status))

        class LooksAtTheConnection(Publisher):
            """Publishes for real."""

            def publish(self, message: PendingMessage) -> None:
                look()
                super().publish(message)

            def collect(self, timeout: float) -> tuple[list[Acknowledged], list[Refused], list[int]]:
                look()
                return super().collect(timeout)

        append_notes("a", range(1, 4))
        flow.relay = Relay(make_publisher=LooksAtTheConnection)

        flow.relay_all()

        assert states == {(False, TransactionStatus.IDLE)}


class TestAReportThatIsLate:
    def test_lets_the_other_streams_flow_shift_after_shift(self, flow: Flow) -> None:
        class KeepsSilentAboutA(Publisher):
            """Publishes for real; the reports of stream `a` are still out, as when its broker is away."""

            def publish(self, message: PendingMessage) -> None:
                if message.partition_key != "a":
                    super().publish(message)

        append_notes("a", range(1, 2))
        relay, stop = Relay(make_publisher=KeepsSilentAboutA), threading.Event()

        def work() -> None:
            try:
                relay.shift(seconds=0.5, stop=stop)
            finally:
                connections.close_all()

        thread = threading.Thread(target=work)
        thread.start()
        for sequence in range(1, 31):
            append_notes("b", range(sequence, sequence + 1))
            wait_until(lambda n=sequence: len(wire_order("b")) == n, what="the other stream flows", seconds=3)
        stop.set()
        thread.join(30)

        assert wire_order("a") == []


class TestAReportThatNeverComes:
    def test_makes_the_relay_build_a_new_client_that_publishes(
        self, flow: Flow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay_module, "STALLED_SECONDS", 0.5)

        class Wedged(Publisher):
            """Stays with a leader that is none any more."""

            def publish(self, message: PendingMessage) -> None:
                pass

        clients: list[Publisher] = []

        def make() -> Publisher:
            clients.append(Publisher() if clients else Wedged())
            return clients[-1]

        append_notes("a", range(1, 4))
        flow.relay = Relay(make_publisher=make)

        flow.relay_all()

        assert wire_order("a") == [1, 2, 3]


class TestADeadPartition:
    DEAD, ALIVE = 0, 1

    @pytest.fixture
    def small_windows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that a few messages fill them."""
        monkeypatch.setattr(relay_module, "WINDOW", 10)
        monkeypatch.setattr(relay_module, "PAGE", 10)
        monkeypatch.setattr(relay_module, "LATE_SECONDS", 0.2)
        monkeypatch.setattr(relay_module, "LATE_WINDOW", 15)

    def test_fills_its_own_shards_only_and_all_other_streams_flow(self, flow: Flow, small_windows: None) -> None:
        published: list[str] = []

        class OnePartitionIsDead(Publisher):
            """Publishes for real, but what goes to the dead partition: no report comes from there."""

            def publish(self, message: PendingMessage) -> None:
                published.append(message.partition_key)
                if partition_of(message.partition_key) != TestADeadPartition.DEAD:
                    super().publish(message)

        # The dead one's messages come first, and are many times what both windows hold.
        append_streams(keys_of(self.DEAD, count=400))
        alive = keys_of(self.ALIVE, count=60)
        append_streams(alive)
        relay = Relay(make_publisher=OnePartitionIsDead)

        def all_alive_flowed() -> bool:
            relay.round(shards=list(range(SHARDS)), wait=0.02)
            return OutboxReceipt.objects.filter(message__partition_key__in=alive).count() == len(alive)

        wait_until(all_alive_flowed, what="the streams of the other partition flowed", seconds=10)

        assert len(published) < 400

    def test_whose_client_refuses_at_once_is_not_asked_for_ever_more(self, flow: Flow, small_windows: None) -> None:
        published: list[int] = []

        class KnowsNoSuchTopic(Publisher):
            """As when the topic was deleted: each message's fate is unknown at once, and it is tried again later."""

            def publish(self, message: PendingMessage) -> None:
                published.append(message.outbox_id)

            def collect(self, timeout: float) -> tuple[list[Acknowledged], list[Refused], list[int]]:
                return [], [], list(relay._flying)

        append_streams(keys_of(self.DEAD, count=400))
        relay = Relay(make_publisher=KnowsNoSuchTopic)
        for _ in range(60):
            relay.round(shards=list(range(SHARDS)), wait=0)

        assert len(set(published)) < 400

    def test_is_known_by_its_shard(self, flow: Flow) -> None:
        keys = [uuid.uuid4().hex[: n % 33 or 1] + "é€"[: n % 3] for n in range(200)]
        append_streams(dict.fromkeys(keys))

        flow.relay_all()

        for receipt in OutboxReceipt.objects.select_related("message"):
            assert receipt.partition == partition_of(receipt.message.partition_key)


class TestLargeMessages:
    """A backlog of large messages must not fill the relay's memory: they are counted by their weight."""

    WEIGHT = 98

    @pytest.fixture
    def large(self, flow: Flow) -> None:
        append_streams((f"key-{n}" for n in range(40)), text="x" * (WEIGHT_BYTES * (self.WEIGHT - 1)))

    def test_are_read_a_few_at_a_time(self, large: None) -> None:
        page = queue.fetch(shards=range(SHARDS), except_ids=[], after=0, limit=2 * self.WEIGHT)

        assert [message.weight for message in page] == [self.WEIGHT] * 2
        assert {pending.weight for pending in OutboxPending.objects.all()} == {self.WEIGHT}

    def test_are_a_few_in_flight_at_a_time_and_all_flow(
        self, flow: Flow, large: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(relay_module, "WINDOW", 3 * self.WEIGHT)
        monkeypatch.setattr(relay_module, "PAGE", 2 * self.WEIGHT)
        in_flight = [0]

        class Counts(Publisher):
            def publish(self, message: PendingMessage) -> None:
                in_flight.append(in_flight[-1] + 1)
                super().publish(message)

            def collect(self, timeout: float) -> tuple[list[Acknowledged], list[Refused], list[int]]:
                reports = super().collect(timeout)
                in_flight.append(in_flight[-1] - len(reports[0]))
                return reports

        flow.relay = Relay(make_publisher=Counts)

        flow.relay_all()

        assert OutboxReceipt.objects.count() == 40
        assert max(in_flight) <= 3 + 2


class TestAMessageThatIsPutBack:
    def test_waits_in_the_shard_that_it_was_in_and_weighs_the_same(self, flow: Flow) -> None:
        append_streams(f"key-{n}" for n in range(50))
        append_streams(["large"], text="x" * 2 * WEIGHT_BYTES)
        rows = {pending.pk: (pending.shard, pending.weight) for pending in OutboxPending.objects.all()}
        shards, weights = zip(*rows.values(), strict=True)
        assert len(set(shards)) > 1
        assert set(weights) == {1, 3}
        flow.relay_all()

        receipts = [queue.Acknowledged(*row) for row in OutboxReceipt.objects.values_list("pk", "partition", "offset")]
        assert sorted(queue.requeue(receipts)) == sorted(rows)

        assert {pending.pk: (pending.shard, pending.weight) for pending in OutboxPending.objects.all()} == rows


class TestTheBacklog:
    def test_grows_while_kafka_is_away_and_drains_after(self, flow: Flow) -> None:
        for _ in range(5):
            place()
        with override_settings(KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1"):
            Relay().round(shards=list(range(SHARDS)), wait=0.1)
        assert backlog() == 5

        flow.relay_all()

        assert backlog() == 0


def _owners() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT owner FROM relay_shard")
        return {owner for (owner,) in cursor.fetchall()}
