"""The demo's load: orders come before the kills, meanwhile and after, however fast they are answered."""

from typing import Any

import httpx
import pytest

from demo.load import Load, LoadFailed, Sent


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


@pytest.mark.parametrize(("status", "kind"), [(409, "not-cancellable"), (422, "key-reused"), (500, "server-error")])
def test_an_answer_that_asking_again_cannot_mend_ends_it(status: int, kind: str) -> None:
    answers = httpx.MockTransport(lambda _: httpx.Response(status, json={"type": kind}))
    load = Load("http://127.0.0.1:1", "token", 1, 1, 60, 1)

    with httpx.Client(base_url=load.api_url, transport=answers) as client, pytest.raises(LoadFailed, match=kind):
        load._until_answered(client, Sent(), 202, "/api/orders/1/cancel")


def test_a_request_in_flight_is_asked_again() -> None:
    answers = iter([httpx.Response(409, json={"type": "request-in-flight"}), httpx.Response(201, json={"id": "1"})])
    transport = httpx.MockTransport(lambda _: next(answers))
    load, sent = Load("http://127.0.0.1:1", "token", 1, 1, 60, 1), Sent()

    with httpx.Client(base_url=load.api_url, transport=transport) as client:
        assert load._until_answered(client, sent, 201, "/api/orders") == "1"

    assert sent.retried == 1
