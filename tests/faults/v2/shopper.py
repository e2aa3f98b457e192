"""`python -m tests.faults.v2.shopper NAME`: the web process of one version under load. Places orders until it is told
to stop, cancels every eighth, and prints the id of each that was accepted."""

import contextlib
import json
import signal
import sys
import threading
from uuid import UUID

import django

PER_SECOND = 20


def main(name: str) -> None:
    django.setup()
    from orders.errors import NotCancellable
    from orders.models import ApiClient
    from orders.services import cancel_order
    from tests.factories import LineFactory, place

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    client = ApiClient.objects.create(name=name, token_sha256=name)
    placed = 0
    while not stop.wait(1 / PER_SECOND):
        order_id = UUID(json.loads(place(LineFactory(sku="SKU-A"), client=client).answer)["id"])
        print(order_id, flush=True)  # noqa: T201  (the test reads it)
        placed += 1
        if placed % 8 == 0:
            with contextlib.suppress(NotCancellable):  # it was rejected meanwhile
                cancel_order(client_id=client.pk, order_id=order_id)


if __name__ == "__main__":
    main(sys.argv[1])
