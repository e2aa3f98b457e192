"""Why a change of the stock is refused."""


class InventoryError(Exception):
    """Anything that this app refuses on purpose."""


class StockChanged(InventoryError):
    """Somebody changed the stock after it was read. Read it again and decide anew."""
