"""GET /api/stock shows what is on hand, page by page."""

import json

from tests.api_tools import Caller
from tests.factories import StockItemFactory


class TestListingStock:
    def test_pages_through_every_sku_once_in_order(self, committed_db: None) -> None:
        caller = Caller()
        for sku in ("C", "A", "E", "B", "D"):
            StockItemFactory(sku=sku, initial=7)

        first = json.loads(caller.get("/api/stock", limit=3).content)
        second = json.loads(caller.get("/api/stock", limit=3, after=first["next"]).content)

        assert [item["sku"] for item in first["items"]] == ["A", "B", "C"]
        assert first["items"][0] == {"sku": "A", "on_hand": 7}
        assert [item["sku"] for item in second["items"]] == ["D", "E"]
        assert second["next"] is None

    def test_is_an_empty_page_after_the_last(self, committed_db: None) -> None:
        StockItemFactory(sku="A")

        assert json.loads(Caller().get("/api/stock", after="ZZZ").content) == {"items": [], "next": None}

    def test_takes_any_text_to_start_after_as_text(self, committed_db: None) -> None:
        StockItemFactory(sku="A")

        for after in ("' OR 1=1 --", "%", "\u202e", "<b>"):
            assert Caller().get("/api/stock", after=after).status_code == 200
