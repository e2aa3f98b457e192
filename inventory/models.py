"""Stock on hand, and the ledger that explains it: initial + Σ ledger = on hand, for each SKU, always."""

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint
from django.db.models.functions import Now


class StockItem(models.Model):
    """What is on hand of one SKU."""

    sku = models.CharField(max_length=64, primary_key=True)
    initial = models.PositiveIntegerField(help_text="on hand when the SKU was made")
    on_hand = models.IntegerField()
    version = models.PositiveIntegerField(default=0, help_text="for optimistic locking of manual adjustments")

    class Meta:
        db_table = "inventory_stockitem"
        constraints = [CheckConstraint(condition=Q(on_hand__gte=0), name="inventory_stockitem_not_negative")]

    def __str__(self) -> str:
        return self.sku


class StockMovement(models.Model):
    """One line of the append-only ledger. `quantity` is what it added to the stock on hand."""

    class Kind(models.TextChoices):
        RESERVE = "reserve", "reserved for an order"
        RELEASE = "release", "put back by a cancellation"
        ADJUST = "adjust", "counted by hand"

    order_id = models.UUIDField(null=True, help_text="empty for an adjustment by hand")
    item = models.ForeignKey(StockItem, models.PROTECT, db_column="sku", related_name="movements")
    kind = models.CharField(max_length=16, choices=Kind)
    quantity = models.IntegerField()
    reason = models.CharField(max_length=255, db_default="", help_text="of an adjustment by hand")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "inventory_stockmovement"
        constraints = [
            # The pillar: whatever is delivered twice, an order moves a SKU once in each direction.
            UniqueConstraint(fields=["order_id", "item", "kind"], name="inventory_stockmovement_once"),
            CheckConstraint(
                condition=Q(kind="reserve", quantity__lt=0)
                | Q(kind="release", quantity__gt=0)
                | (Q(kind="adjust") & ~Q(quantity=0)),
                name="inventory_stockmovement_direction",
            ),
            CheckConstraint(
                condition=Q(kind="adjust", order_id__isnull=True) | (~Q(kind="adjust") & Q(order_id__isnull=False)),
                name="inventory_stockmovement_of_order",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.quantity:+d} {self.item_id}"
