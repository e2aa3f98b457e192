"""`manage.py seed_stock`: SKUs to order, made where they are missing."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from inventory.models import StockItem


class Command(BaseCommand):
    help = "Make the SKUs SKU-0001 … with stock on hand. What exists is left as it is."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--skus", type=int, default=20, help="how many SKUs (default 20)")
        parser.add_argument("--on-hand", type=int, default=100_000, help="of each SKU (default 100000)")

    def handle(self, *args: Any, **options: Any) -> None:
        count, on_hand = options["skus"], options["on_hand"]
        items = [StockItem(sku=f"SKU-{number:04}", initial=on_hand, on_hand=on_hand) for number in range(1, count + 1)]
        # A stock item that exists is the same item: nothing of value is skipped here.
        StockItem.objects.bulk_create(items, ignore_conflicts=True)
        self.stdout.write(f"{StockItem.objects.count()} SKUs in stock")
