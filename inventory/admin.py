"""Stock and its ledger, to look at. An adjustment goes through the services, never past the ledger."""

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.utils.safestring import SafeString

from inventory.models import StockItem, StockMovement
from messaging.admin import ReadOnlyAdmin, as_uuid, key_links
from messaging.admin.links import search_link
from messaging.admin.read_only import column
from messaging.admin.show import NONE, age, linked, mono, two_lines


@admin.register(StockItem)
class StockItemAdmin(ReadOnlyAdmin[StockItem]):
    newest_first = False  # by SKU
    list_display = ("sku", "initial", "on_hand", "version")
    search_fields = ("sku",)
    search_help_text = "A SKU or its beginning."
    fields = ("sku", "initial", "on_hand", "version", "ledger")

    def search(self, queryset: QuerySet[StockItem], term: str) -> QuerySet[StockItem]:
        return queryset.filter(sku__startswith=term)

    @column("ledger")
    def ledger(self, row: StockItem) -> SafeString:
        address = search_link("admin:inventory_stockmovement_changelist", row.sku)
        return linked([("stock movements", address)])


@admin.register(StockMovement)
class StockMovementAdmin(ReadOnlyAdmin[StockMovement]):
    list_display = ("sku", "what", "signed_quantity", "age")
    list_filter = ("kind",)
    filter_lookups = ("kind__exact",)
    search_fields = ("item",)
    search_help_text = "An order id, or a SKU."
    fields = ("item", "kind", "signed_quantity", "reason", "order", "related", "created_at")

    def search(self, queryset: QuerySet[StockMovement], term: str) -> QuerySet[StockMovement]:
        identity = as_uuid(term)
        return queryset.filter(Q(order_id=identity) | Q(item=term) if identity else Q(item=term))

    @column("SKU")
    def sku(self, row: StockMovement) -> str:
        return row.item_id

    @column("movement, and its order or reason")
    def what(self, row: StockMovement) -> SafeString:
        return two_lines(row.get_kind_display(), row.order_id or row.reason)

    @column("age")
    def age(self, row: StockMovement) -> str:
        return age(row.created_at)

    @column("quantity")
    def signed_quantity(self, row: StockMovement) -> str:
        return f"{row.quantity:+d}"

    @column("order")
    def order(self, row: StockMovement) -> SafeString | str:
        return mono(row.order_id) if row.order_id else NONE

    @column("its pages")
    def related(self, row: StockMovement) -> SafeString | str:
        return linked(key_links(row.order_id)) if row.order_id else NONE
