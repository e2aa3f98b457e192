"""Writing a message: in the caller's transaction, checked where the caller can still be told."""

from typing import ClassVar

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import ProtectedError

from messaging import trace
from messaging.envelope import MAX_PAYLOAD_BYTES, Payload
from messaging.errors import InvalidMessage, MessageTooLarge, OutsideTransaction
from messaging.models import OutboxMessage, OutboxPending
from messaging.produce import outbox
from orders.models import Order
from tests.factories import place

pytestmark = pytest.mark.usefixtures("committed_db")


class Note(Payload):
    message_type: ClassVar[str] = "tests.note.v1"
    topic: ClassVar[str] = "orders.events"
    source: ClassVar[str] = "tests"

    text: str


class TestAppend:
    def test_is_refused_outside_a_transaction(self) -> None:
        with pytest.raises(OutsideTransaction):
            outbox.append(Note(text="x"), partition_key="k", sequence=1)

        assert not OutboxMessage.objects.exists()

    def test_writes_the_message_and_its_place_in_the_queue(self) -> None:
        with transaction.atomic():
            message_id = outbox.append(Note(text="x"), partition_key="k", sequence=1)

        assert OutboxPending.objects.get().message.message_id == message_id

    def test_disappears_with_the_transaction_that_rolls_back(self) -> None:
        with transaction.atomic():
            outbox.append(Note(text="x"), partition_key="k", sequence=1)
            transaction.set_rollback(True)

        assert not OutboxMessage.objects.exists()

    def test_keeps_the_order_of_many(self) -> None:
        drafts = [outbox.Draft(Note(text=str(n)), "k", n) for n in range(1, 101)]

        with transaction.atomic():
            outbox.append_all(drafts)

        assert list(OutboxMessage.objects.order_by("id").values_list("sequence", flat=True)) == list(range(1, 101))

    def test_refuses_a_sequence_that_is_taken(self) -> None:
        with transaction.atomic():
            outbox.append(Note(text="x"), partition_key="k", sequence=1)

        with pytest.raises(IntegrityError), transaction.atomic():
            outbox.append(Note(text="y"), partition_key="k", sequence=1)

    def test_continues_the_trace_of_the_work_in_hand(self) -> None:
        with trace.continued("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), transaction.atomic():
            outbox.append(Note(text="x"), partition_key="k", sequence=1)

        assert (OutboxMessage.objects.get().traceparent or "").startswith("00-0af7651916cd43dd8448eb211c80319c-")


class TestTheChecksAtWriteTime:
    @staticmethod
    def note_of(size: int) -> Note:
        empty = len(Note(text="").model_dump_json())
        return Note(text="x" * (size - empty))

    def test_let_the_largest_payload_through(self) -> None:
        with transaction.atomic():
            outbox.append(self.note_of(MAX_PAYLOAD_BYTES), partition_key="k", sequence=1)

        assert len(OutboxMessage.objects.get().payload) == MAX_PAYLOAD_BYTES

    def test_refuse_one_byte_more(self) -> None:
        with pytest.raises(MessageTooLarge), transaction.atomic():
            outbox.append(self.note_of(MAX_PAYLOAD_BYTES + 1), partition_key="k", sequence=1)

    @pytest.mark.parametrize(
        ("text", "key", "sequence"),
        [
            ("x", "", 1),
            ("x", "k" * 256, 1),
            ("x", "k\x00", 1),
            ("x", "k", 0),
            ("x", "k", -1),
            ("x", "k", 2**31),
            ("\ud800", "k", 1),
            ("x", "k\ud800", 1),
        ],
        ids=[
            "empty key",
            "long key",
            "NUL in key",
            "sequence 0",
            "negative",
            "too high",
            "lone surrogate",
            "lone surrogate in key",
        ],
    )
    def test_refuse_what_could_not_travel(self, text: str, key: str, sequence: int) -> None:
        with pytest.raises(InvalidMessage), transaction.atomic():
            outbox.append(Note.model_construct(text=text), partition_key=key, sequence=sequence)

        assert not OutboxMessage.objects.exists()


class TestTheDatabaseItself:
    def test_refuses_to_delete_a_message_that_is_pending(self) -> None:
        place()

        with pytest.raises(IntegrityError), connection.cursor() as cursor:
            cursor.execute("DELETE FROM outbox_message")
        with pytest.raises(ProtectedError):
            OutboxMessage.objects.all().delete()

    def test_holds_an_order_and_its_message_or_neither(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE outbox_pending ADD CONSTRAINT broken CHECK (false) NOT VALID")
        try:
            with pytest.raises(IntegrityError):
                place()
        finally:
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE outbox_pending DROP CONSTRAINT broken")

        assert not Order.objects.exists()
        assert not OutboxMessage.objects.exists()
