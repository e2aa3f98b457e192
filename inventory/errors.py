"""Why a change of the stock is refused."""


class InventoryError(Exception):
    """Anything that this app refuses on purpose."""


class UnknownSku(InventoryError):
    """No such stock item. Look for its SKU in the admin."""


class OutOfRange(InventoryError):
    """The stock on hand would be negative or too large for its column. Count again."""


class StockChanged(InventoryError):
    """Somebody changed the stock after it was read. Read it again and decide anew."""
