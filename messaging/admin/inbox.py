"""The inbox: what each consumer took, and what it keeps until a predecessor comes."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from messaging.admin.links import key_links, search_link
from messaging.admin.read_only import M, ReadOnlyAdmin, as_uuid, column
from messaging.admin.show import NONE, age, bytes_block, header_values, headers_table, linked, moment, mono, two_lines
from messaging.models import DeadLetter, OutboxMessage, ParkedMessage, ProcessedMessage
from messaging.registry import subscriptions

MAX_OF_A_KEY = 1000


def place_in_log(row: ProcessedMessage | ParkedMessage | DeadLetter) -> str:
    """Where the consumer read it."""
    return f"{row.topic}[{row.partition}]@{row.offset}"


class ConsumerFilter(admin.SimpleListFilter):
    """By a consumer that is declared."""

    title = parameter_name = "consumer"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(declared.consumer, declared.consumer) for declared in subscriptions()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[M]) -> QuerySet[M]:
        return queryset.filter(consumer=self.value()) if self.value() else queryset


def named_by(term: str) -> list[UUID]:
    """The message ids that a search term means: itself, and those of the key that it is."""
    identity = as_uuid(term)
    of_key = OutboxMessage.objects.filter(partition_key=str(identity or term)).order_by("pk")
    ids = list(of_key.values_list("message_id", flat=True)[:MAX_OF_A_KEY])
    return [*ids, identity] if identity else ids


@admin.register(ProcessedMessage)
class ProcessedMessageAdmin(ReadOnlyAdmin[ProcessedMessage]):
    list_display = ("what", "taken_by", "age", "redeliveries")
    list_filter = (ConsumerFilter,)
    filter_lookups = ("consumer",)
    search_fields = ("message_id",)
    search_help_text = "A message id or an order id (or another key)."
    fields = (
        "consumer",
        "message_type",
        "message",
        "key",
        "related",
        "source",
        "sequence",
        "place",
        "taken",
        "redeliveries",
        "payload_sha256",
    )

    def search(self, queryset: QuerySet[ProcessedMessage], term: str) -> QuerySet[ProcessedMessage]:
        return queryset.filter(message_id__in=named_by(term))

    @column("message")
    def what(self, row: ProcessedMessage) -> SafeString:
        return two_lines(row.message_type, f"{row.partition_key} #{row.sequence}")

    @column("read by")
    def taken_by(self, row: ProcessedMessage) -> SafeString:
        return two_lines(row.consumer, place_in_log(row))

    @column("age")
    def age(self, row: ProcessedMessage) -> str:
        return age(row.processed_at)

    @column("message id")
    def message(self, row: ProcessedMessage) -> SafeString:
        return linked([(str(row.message_id), message_link(row.message_id))])

    @column("key")
    def key(self, row: ProcessedMessage) -> SafeString:
        return mono(row.partition_key)

    @column("its pages")
    def related(self, row: ProcessedMessage) -> SafeString:
        return linked(key_links(row.partition_key))

    @column("read at")
    def place(self, row: ProcessedMessage) -> SafeString:
        return mono(place_in_log(row))

    @column("taken")
    def taken(self, row: ProcessedMessage) -> str:
        return moment(row.processed_at)


class RawRecordAdmin(ReadOnlyAdmin[M]):
    """What parked messages and dead letters share: a record as bytes."""

    heavy_fields = ("key", "value", "headers")
    record_fields = ("place", "raw_headers", "raw_key", "raw_value")

    @column("message id")
    def message(self, row: ParkedMessage | DeadLetter) -> SafeString | str:
        return linked([(str(row.message_id), message_link(row.message_id))]) if row.message_id else NONE

    @column("its pages")
    def related(self, row: ParkedMessage | DeadLetter) -> SafeString | str:
        return linked(key_links(row.partition_key)) if row.partition_key else NONE

    @column("read at")
    def place(self, row: ParkedMessage | DeadLetter) -> SafeString:
        return mono(place_in_log(row))

    @column("headers")
    def raw_headers(self, row: ParkedMessage | DeadLetter) -> SafeString:
        return headers_table(header_values(row.headers))

    @column("key")
    def raw_key(self, row: ParkedMessage | DeadLetter) -> SafeString:
        return bytes_block(row.key)

    @column("value")
    def raw_value(self, row: ParkedMessage | DeadLetter) -> SafeString:
        return bytes_block(row.value)


@admin.register(ParkedMessage)
class ParkedMessageAdmin(RawRecordAdmin[ParkedMessage]):
    """They need no replay: each is applied in the transaction that applies its predecessor."""

    list_display = ("what", "consumer", "age")
    list_filter = (ConsumerFilter,)
    filter_lookups = ("consumer",)
    search_fields = ("message_id",)
    search_help_text = "A message id or an order id (or another key)."
    fieldsets = (
        (None, {"fields": ("consumer", "message", "related", "source", "sequence", "parked_at")}),
        ("The record as bytes", {"fields": RawRecordAdmin.record_fields}),
    )

    def search(self, queryset: QuerySet[ParkedMessage], term: str) -> QuerySet[ParkedMessage]:
        identity = as_uuid(term)
        return queryset.filter(Q(message_id=identity) | Q(partition_key=str(identity or term)))

    @column("message")
    def what(self, row: ParkedMessage) -> SafeString:
        return two_lines(row.message_id, f"{row.partition_key} #{row.sequence} of {row.source}")

    @column("age")
    def age(self, row: ParkedMessage) -> str:
        return age(row.parked_at)


def message_link(message_id: UUID) -> str:
    return search_link("admin:messaging_outboxmessage_changelist", message_id)
