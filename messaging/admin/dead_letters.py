"""Dead letters: why a record could not be handled, its bytes, and its second chance."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from messaging.admin.inbox import ConsumerFilter, RawRecordAdmin, named_by, place_in_log
from messaging.admin.read_only import as_uuid, column
from messaging.admin.second_chance import SecondChanceAdmin
from messaging.admin.show import NONE, age, badge, moment, two_lines, visible
from messaging.consume.replay import replay
from messaging.models import DeadLetter

DeadLetters = QuerySet[DeadLetter]


class OpenFilter(admin.SimpleListFilter):
    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "open"), ("resolved", "resolved")]

    def queryset(self, request: HttpRequest, queryset: DeadLetters) -> DeadLetters:
        if self.value() in ("open", "resolved"):
            return queryset.filter(resolved_at__isnull=self.value() == "open")
        return queryset


@admin.register(DeadLetter)
class DeadLetterAdmin(RawRecordAdmin[DeadLetter], SecondChanceAdmin[DeadLetter]):
    replay_permission = "messaging.replay_deadletter"
    replay_label = "Replay"
    replay_effect = (
        "The record is handled as if it had just arrived, then what waits behind it in its stream. "
        "If it fails again, nothing is changed."
    )
    list_display = ("number", "state", "what", "in_short", "age")
    list_filter = (OpenFilter, "reason", ConsumerFilter)
    filter_lookups = ("state", "reason__exact", "consumer")
    search_fields = ("message_id",)
    search_help_text = "A message id or an order id (or another key)."
    fieldsets = (
        (None, {"fields": ("state", "number", "consumer", "reason", "why", "message", "related", "buried")}),
        ("The record as bytes", {"fields": RawRecordAdmin.record_fields}),
    )

    def search(self, queryset: DeadLetters, term: str) -> DeadLetters:
        # By id also where the record names no key; there is no index by key, but few dead letters.
        return queryset.filter(Q(message_id__in=named_by(term)) | Q(partition_key=str(as_uuid(term) or term)))

    def replay(self, row: DeadLetter) -> None:
        replay(row.pk)

    def why_not(self, row: DeadLetter) -> str:
        return f"it was resolved at {moment(row.resolved_at)}" if row.resolved_at else ""

    @column("number")
    def number(self, row: DeadLetter) -> int:
        """What `manage.py replay` asks for."""
        return row.pk

    @column("where, and whose")
    def what(self, row: DeadLetter) -> SafeString:
        return two_lines(f"{row.consumer} {place_in_log(row)}", visible(row.partition_key or NONE))

    @column("state")
    def state(self, row: DeadLetter) -> SafeString:
        return badge("resolved" if row.resolved_at else "open")

    @column("reason")
    def in_short(self, row: DeadLetter) -> SafeString:
        # The last line of a traceback names the error.
        last = (visible(row.detail).strip().splitlines() or [""])[-1]
        return format_html("{}: {}", row.get_reason_display(), last if len(last) <= 120 else last[:120] + " …")

    @column("age")
    def age(self, row: DeadLetter) -> str:
        return age(row.created_at)

    @column("detail")
    def why(self, row: DeadLetter) -> SafeString:
        return format_html('<pre class="zl-pre">{}</pre>', visible(row.detail))

    @column("buried")
    def buried(self, row: DeadLetter) -> str:
        resolved = f"\nresolved at {moment(row.resolved_at)}" if row.resolved_at else ""
        return f"{moment(row.created_at)}, {age(row.created_at)} ago{resolved}"
