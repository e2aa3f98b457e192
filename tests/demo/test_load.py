"""The demo's load: orders come before the kills, meanwhile and after, however fast they are answered."""

from typing import Any

import pytest

from demo.load import Load, Sent


@pytest.mark.parametrize(("orders", "before"), [(1, 0), (8, 7), (100, 90)])
def test_some_orders_are_placed_only_after_the_kills(monkeypatch: pytest.MonkeyPatch, orders: int, before: int) -> None:
    seen: list[int] = []

    def answered_at_once(_: Load, client: Any, chance: Any, sent: Sent) -> None:
        with sent.lock:
            sent.order_ids.add(str(chance.random()))

    monkeypatch.setattr(Load, "_one_order", answered_at_once)

    def kill(sent: Sent) -> None:
        for _ in range(100):  # slow, compared with the answers
            seen.append(len(sent.order_ids))

    sent = Load("http://127.0.0.1:1", "token", orders, 4, 5, 1).run(at_half=kill)

    assert max(seen) <= before
    assert len(sent.order_ids) == orders
