"""Messages: which of them wait, which Kafka has, and what exactly travelled."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from messaging.admin.figures import figures, message_types
from messaging.admin.journey import MAX_STEPS, journey, place_of, state_of
from messaging.admin.links import key_links
from messaging.admin.read_only import as_uuid, column
from messaging.admin.second_chance import SecondChanceAdmin
from messaging.admin.show import NONE, age, badge, duration, headers_table, json_block, linked, moment, mono, two_lines
from messaging.envelope import Envelope, encode_headers
from messaging.models import OutboxMessage
from messaging.produce.queue import unpark

Messages = QuerySet[OutboxMessage]


class StateFilter(admin.SimpleListFilter):
    """By the table that the message is in."""

    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state) for state in ("pending", "parked", "acknowledged")]

    def queryset(self, request: HttpRequest, queryset: Messages) -> Messages:
        match self.value():
            case "pending":
                return queryset.filter(pending__isnull=False, pending__parked_at=None)
            case "parked":
                return queryset.filter(pending__parked_at__isnull=False)
            case "acknowledged":
                return queryset.filter(receipt__isnull=False, pending=None)
        return queryset


class TypeFilter(admin.SimpleListFilter):
    """By a type that exists."""

    title = parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in message_types()]

    def queryset(self, request: HttpRequest, queryset: Messages) -> Messages:
        return queryset.filter(message_type=self.value()) if self.value() else queryset


@admin.register(OutboxMessage)
class OutboxMessageAdmin(SecondChanceAdmin[OutboxMessage]):
    replay_permission = "messaging.replay_message"
    replay_label = "Put back into the queue"
    replay_effect = (
        "The relay publishes the message again, under the same message id. "
        "The later messages of its key, which wait behind it, follow."
    )
    change_list_template = "admin/messaging/outbox_list.html"
    list_display = ("message", "state_and_place", "age", "attempts")
    list_filter = (StateFilter, TypeFilter)
    filter_lookups = ("state", "type")
    heavy_fields = ("payload",)
    search_fields = ("message_id",)
    search_help_text = "A message id, an order id (or another key), a message type or its beginning."
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "state",
                    "message_type",
                    "message_id",
                    "key",
                    "related",
                    "source_sequence",
                    "written",
                )
            },
        ),
        ("Delivery", {"fields": ("attempts", "last_error", "delivered")}),
        ("All messages of this key", {"fields": ("way",), "classes": ("zl-wide",)}),
        ("Headers on the wire", {"fields": ("headers",), "classes": ("zl-wide",)}),
        ("Payload", {"fields": ("body",), "classes": ("zl-wide",)}),
    )

    def get_queryset(self, request: HttpRequest) -> Messages:
        return super().get_queryset(request).select_related("pending", "receipt")

    def search(self, queryset: Messages, term: str) -> Messages:
        if identity := as_uuid(term):
            return queryset.filter(Q(message_id=identity) | Q(partition_key=str(identity)))
        # The few types are read first, so that no LIKE scans the messages.
        if types := [name for name in message_types() if name.startswith(term)]:
            return queryset.filter(message_type__in=types)
        return queryset.filter(partition_key=term)

    def replay(self, row: OutboxMessage) -> None:
        unpark(row.pk)

    def why_not(self, row: OutboxMessage) -> str:
        state = state_of(row)
        return "" if state == "parked" else f"the message is {state}, only a parked one can be put back"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        now = figures()
        above = {
            "figures": now,
            "oldest_pending_age": duration(now.oldest_pending_age) if now.oldest_pending_age else "—",
            "about_messages": f"{now.about_messages or 0:,}",
        }
        return super().changelist_view(request, {**above, **(extra_context or {})})

    # --- columns and fields ------------------------------------------------------------------------

    @column("message")
    def message(self, row: OutboxMessage) -> SafeString:
        return two_lines(row.message_type, f"{row.partition_key} #{row.sequence}")

    @column("state")
    def state(self, row: OutboxMessage) -> SafeString:
        return badge(state_of(row))

    @column("age")
    def age(self, row: OutboxMessage) -> str:
        return age(row.created_at)

    @column("refusals")
    def attempts(self, row: OutboxMessage) -> int | str:
        pending = getattr(row, "pending", None)
        return pending.attempts if pending else NONE

    @column("last error")
    def last_error(self, row: OutboxMessage) -> str:
        pending = getattr(row, "pending", None)
        return (pending.last_error if pending else "") or NONE

    @column("state, and place in Kafka")
    def state_and_place(self, row: OutboxMessage) -> SafeString:
        return two_lines(self.state(row), place_of(row))

    @column("receipt")
    def delivered(self, row: OutboxMessage) -> str:
        receipt = getattr(row, "receipt", None)
        if receipt is None:
            return "none yet: Kafka has not acknowledged it"
        late = duration(receipt.acknowledged_at - row.created_at)
        place = f"topic {row.topic}, partition {receipt.partition}, offset {receipt.offset}"
        return f"{place}\nacknowledged at {moment(receipt.acknowledged_at)}, {late} after it was written"

    @column("key")
    def key(self, row: OutboxMessage) -> SafeString:
        return mono(row.partition_key)

    @column("its pages")
    def related(self, row: OutboxMessage) -> SafeString:
        return linked(key_links(row.partition_key))

    @column("number in its stream")
    def source_sequence(self, row: OutboxMessage) -> str:
        return f"{row.sequence} of source {row.source}"

    @column("written")
    def written(self, row: OutboxMessage) -> str:
        return f"{moment(row.created_at)}, {age(row.created_at)} ago"

    @column("")
    def way(self, row: OutboxMessage) -> SafeString:
        steps = journey(row.partition_key)
        context = {"steps": steps, "here": row.pk, "max_steps": MAX_STEPS, "cut": len(steps) == MAX_STEPS}
        return render_to_string("admin/messaging/journey.html", context)

    @column("")
    def headers(self, row: OutboxMessage) -> SafeString:
        return headers_table((name, str(value)) for name, value in encode_headers(_envelope(row)))

    @column("")
    def body(self, row: OutboxMessage) -> SafeString:
        return json_block(row.payload)


def _envelope(row: OutboxMessage) -> Envelope:
    return Envelope(
        message_id=row.message_id,
        message_type=row.message_type,
        source=row.source,
        partition_key=row.partition_key,
        sequence=row.sequence,
        payload=row.payload,
        occurred_at=row.created_at,
        traceparent=row.traceparent,
    )
