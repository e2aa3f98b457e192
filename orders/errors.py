"""Why an order is refused. Each docstring says what the caller should do."""


class OrderError(Exception):
    """Anything that this app refuses on purpose."""


class RequestInFlight(OrderError):
    """Another request with this idempotency key is being handled. Ask again in a moment."""


class KeyReused(OrderError):
    """The idempotency key was used with another body. Use a new key for a new order."""


class NoSuchOrder(OrderError):
    """The client has no order with this id. Check it against the list of the client's orders."""


class NotCancellable(OrderError):
    """The order was rejected and took no stock: there is nothing to cancel, and nothing left to do."""
