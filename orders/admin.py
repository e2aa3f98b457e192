"""Orders to look at: nothing is edited behind the messages' back."""

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from messaging.admin import ReadOnlyAdmin, ReadOnlyTable, as_uuid, key_links
from messaging.admin.read_only import column
from messaging.admin.show import NONE, age, badge, duration, json_block, linked, mono, two_lines
from orders.models import ApiClient, IdempotencyKey, Order, OrderLine


class OrderLineTable(ReadOnlyTable[OrderLine]):
    model = OrderLine


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin[Order]):
    list_display = ("order", "state", "client", "age", "decided")
    list_filter = ("status", "client")
    filter_lookups = ("status__exact", "client__id__exact")
    list_select_related = ("client",)
    search_fields = ("id",)
    search_help_text = "An order id."
    fields = (
        "id",
        "state",
        "related",
        "client",
        "version",
        "rejection_reason",
        "created_at",
        "cancel_requested_at",
        "decided_at",
    )
    inlines = (OrderLineTable,)

    def search(self, queryset: QuerySet[Order], term: str) -> QuerySet[Order]:
        identity = as_uuid(term)
        return queryset.filter(pk=identity) if identity else queryset.none()

    @column("order")
    def order(self, row: Order) -> SafeString:
        return mono(row.id)

    @column("age")
    def age(self, row: Order) -> str:
        return age(row.created_at)

    @column("decided after")
    def decided(self, row: Order) -> SafeString | str:
        if row.decided_at is None:
            return NONE
        return two_lines(duration(row.decided_at - row.created_at), row.rejection_reason)

    @column("status")
    def state(self, row: Order) -> SafeString:
        return badge(row.status)

    @column("its pages")
    def related(self, row: Order) -> SafeString:
        return linked(key_links(row.pk, without="order"))


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnlyAdmin[IdempotencyKey]):
    list_display = ("key", "client", "order", "created_at")
    list_filter = ("client",)
    filter_lookups = ("client__id__exact",)
    list_select_related = ("client", "order")
    heavy_fields = ("answer",)
    search_fields = ("key",)
    search_help_text = "A key, or an order id."
    fields = ("key", "client", "order", "created_at", "body_sha256", "stored_answer")

    def search(self, queryset: QuerySet[IdempotencyKey], term: str) -> QuerySet[IdempotencyKey]:
        # The unique index begins with the client: name the few clients, and it serves.
        clients = list(ApiClient.objects.values_list("pk", flat=True))
        found = Q(client__in=clients, key=term)
        identity = as_uuid(term)
        return queryset.filter(found | Q(order=identity) if identity else found)

    @column("stored answer")
    def stored_answer(self, row: IdempotencyKey) -> SafeString:
        return json_block(row.answer)


@admin.register(ApiClient)
class ApiClientAdmin(ReadOnlyAdmin[ApiClient]):
    """Never the token's hash: `manage.py create_api_client` shows a token once, nobody shows it again."""

    list_display = ("name", "created_at")
    heavy_fields = ("token_sha256",)
    fields = ("name", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiClient]:
        return super().get_queryset(request).defer("token_sha256")
