"""The audit trail: who replayed what, when and why (and every other change that the admin made)."""

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from messaging.admin.read_only import ReadOnlyAdmin, column


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin[LogEntry]):
    list_display = ("action_time", "user", "content_type", "row", "what")
    list_display_links = None
    fields = ("action_time", "user", "content_type", "row", "what")

    def get_queryset(self, request: HttpRequest) -> QuerySet[LogEntry]:
        return super().get_queryset(request).select_related("user", "content_type")

    @column("row")
    def row(self, entry: LogEntry) -> SafeString | str:
        address = entry.get_admin_url()
        return format_html('<a href="{}">{}</a>', address, entry.object_repr) if address else entry.object_repr

    @column("what")
    def what(self, entry: LogEntry) -> str:
        return entry.get_change_message()
