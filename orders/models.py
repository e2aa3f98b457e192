"""Orders, and who may place them."""

from django.db import models
from django.db.models import CheckConstraint, Q, UniqueConstraint
from django.db.models.functions import Now


class ApiClient(models.Model):
    """A program that calls the API. Only the hash of its token is kept."""

    name = models.CharField(max_length=64, unique=True)
    token_sha256 = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "api_client"
        verbose_name = "API client"

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    """A customer's order.

    pending → confirmed → cancelled, or pending → rejected. Inventory's replies move it; a cancellation
    is asked for (`cancel_requested_at`) and final when inventory has put the stock back.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        CONFIRMED = "confirmed"
        REJECTED = "rejected"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, editable=False)
    client = models.ForeignKey(ApiClient, models.PROTECT)
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    version = models.PositiveIntegerField(
        default=1, help_text="how many messages this order has written: the last one's sequence"
    )
    rejection_reason = models.CharField(max_length=255, default="", blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "orders_order"
        indexes = [models.Index(fields=["client", "-id"], name="orders_order_of_client")]
        constraints = [
            CheckConstraint(
                condition=Q(status__in=["pending", "confirmed", "rejected", "cancelled"]),
                name="orders_order_status",
            ),
            CheckConstraint(
                condition=~Q(status="cancelled") | Q(cancel_requested_at__isnull=False),
                name="orders_order_cancelled_on_request",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class OrderLine(models.Model):
    """How many of one SKU."""

    order = models.ForeignKey(Order, models.PROTECT, related_name="lines")
    sku = models.CharField(max_length=64)
    quantity = models.PositiveIntegerField()

    class Meta:
        db_table = "orders_orderline"
        constraints = [
            UniqueConstraint(fields=["order", "sku"], name="orders_orderline_once"),
            CheckConstraint(condition=Q(quantity__gte=1), name="orders_orderline_quantity"),
        ]

    def __str__(self) -> str:
        return f"{self.quantity} of {self.sku}"


class IdempotencyKey(models.Model):
    """A client's key for one POST, with the answer it got: the same key gets the same answer again."""

    client = models.ForeignKey(ApiClient, models.PROTECT)
    key = models.CharField(max_length=255)
    body_sha256 = models.CharField(max_length=64)
    order = models.ForeignKey(Order, models.PROTECT)
    answer = models.TextField(help_text="the JSON that the first POST was answered with")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "idempotency_key"
        constraints = [UniqueConstraint(fields=["client", "key"], name="idempotency_key_once")]

    def __str__(self) -> str:
        return self.key
