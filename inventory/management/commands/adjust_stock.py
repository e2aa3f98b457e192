"""`manage.py adjust_stock SKU QUANTITY --reason …`: correct the stock by hand, through the ledger."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from inventory.errors import InventoryError, StockChanged, UnknownSku
from inventory.models import StockItem
from inventory.services import MOST_ON_HAND, adjust


class Command(BaseCommand):
    help = "Add QUANTITY (negative: take away) to what is on hand of a SKU, by optimistic locking."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("sku", metavar="SKU")
        parser.add_argument("quantity", metavar="QUANTITY", type=_quantity, help="5 or -5")
        parser.add_argument("--reason", required=True, type=_reason, help="for the ledger")
        parser.add_argument(
            "--seen-version",
            type=int,
            help="the item's version when you counted (the admin shows it). Every reservation raises it: if the stock "
            "moved since, this is refused, and you must count again. Default: its version now",
        )
        parser.add_argument("--dry-run", action="store_true", help="say what would be left, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        sku, quantity = options["sku"], options["quantity"]
        try:
            item = StockItem.objects.filter(sku=sku).first()
            if item is None:
                raise UnknownSku(f"there is no SKU {sku}")
            seen = item.version if options["seen_version"] is None else options["seen_version"]
            change = f"{sku}: {item.on_hand} on hand {quantity:+d} = {item.on_hand + quantity}"
            if options["dry_run"]:
                self.stdout.write(f"would adjust {change} (version {item.version})")
                return
            adjust(sku=sku, quantity=quantity, seen_version=seen, reason=options["reason"])
        except StockChanged as error:
            raise CommandError(f"{error}. Nothing was changed: look at it again, and run the command again") from error
        except InventoryError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"adjusted {change}")


def _quantity(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no whole number") from None
    if number == 0 or abs(number) > MOST_ON_HAND:
        raise ArgumentTypeError(f"it must be a whole number of 1 to {MOST_ON_HAND}, or its negative, not {text}")
    return number


def _reason(text: str) -> str:
    if not 1 <= len(text.strip()) <= 255:
        raise ArgumentTypeError("it must have 1 to 255 characters")
    return text.strip()
