"""From the login to a message and its order, in a real browser.

`UPDATE_PICTURES=1 pytest tests/admin/test_in_a_browser.py` also renews the pictures that the README shows.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from messaging.models import DeadLetter, OutboxMessage
from messaging.produce import queue
from orders.models import Order
from orders.services import cancel_order
from tests.admin.scene import travel, wanting_stock
from tests.factories import ApiClientFactory, LineFactory, StockItemFactory, place

PASSWORD = "let me in"  # noqa: S105  (of a database that lives for one test)
CHROMIUM = shutil.which("chromium")
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Playwright runs an event loop in this thread, and Django takes it for asynchronous code.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that tolerates no broken script, no refused style and no server error."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(complaint(message)) if is_complaint(message) else None)
    page.on("response", lambda answer: complaints.append(answer.url) if answer.status >= 500 else None)
    yield page
    # What is still loading would complain of being cut off.
    page.wait_for_load_state("load")
    heard = list(complaints)
    context.close()
    assert heard == []


def complaint(message: ConsoleMessage) -> str:
    return f"{message.text} ({message.location['url']})"


def is_complaint(message: ConsoleMessage) -> bool:
    return message.type == "error"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures go: the documentation only when it is asked for."""
    return PICTURES if os.environ.get("UPDATE_PICTURES") else tmp_path


@pytest.fixture
def order(committed_db: None) -> Order:
    """A shop in the middle of its work: the order was confirmed and then cancelled, others wait."""
    User.objects.create_superuser("olga", password=PASSWORD)
    client = ApiClientFactory(name="web shop")
    for sku in ("TEA-EARL-GREY", "TEA-SENCHA", "MUG-BLUE"):
        StockItemFactory(sku=sku, initial=40)
    for quantity in range(1, 4):
        place(LineFactory(sku="TEA-EARL-GREY", quantity=quantity), client=client)
    travel()
    place(LineFactory(sku="TEA-SENCHA", quantity=2), LineFactory(sku="MUG-BLUE", quantity=1), client=client)
    travel()
    order = Order.objects.latest("pk")
    cancel_order(client_id=client.pk, order_id=order.pk)
    travel()
    for quantity in range(1, 4):
        place(LineFactory(sku="MUG-BLUE", quantity=quantity), client=client)
    first = OutboxMessage.objects.filter(pending__isnull=False).order_by("pk")[0]
    queue.park([queue.Refused(first.pk, "MSG_SIZE_TOO_LARGE: the broker takes no record of this size")])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE outbox_message")  # as autovacuum does; the number above the list is its estimate
    wanting_stock(Order.objects.filter(status="pending").latest("pk").pk, quantity=1, sku="MUG-GREEN")
    return order


def log_in(page: Page, address: str) -> None:
    page.goto(f"{address}/admin/")
    page.get_by_label("Username").fill("olga")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


class TestAnOperator:
    def test_walks_from_the_login_to_a_message_and_its_order(
        self, page: Page, live_server: LiveServer, order: Order, pictures: Path
    ) -> None:
        log_in(page, live_server.url)
        page.get_by_role("link", name="Outbox messages").first.click()
        expect(page.locator(".zl-figures")).to_contain_text("3 backlog")
        page.screenshot(path=pictures / "admin-outbox.png")

        page.locator("#searchbar").fill(str(order.pk))
        page.get_by_role("button", name="Search").click()
        expect(page.locator("#result_list tbody tr")).to_have_count(4)
        page.locator("#result_list").get_by_role("link", name="orders.order_placed.v1").click()
        expect(page.locator("#journey tbody tr")).to_have_count(4)
        expect(page.locator(".zl-headers").first).to_contain_text("ce_sha256")
        page.screenshot(path=pictures / "admin-message.png", full_page=True)

        page.locator(".field-related").get_by_role("link", name="order", exact=True).click()
        expect(page.locator(".field-state")).to_contain_text("cancelled")
        page.locator(".field-related").get_by_role("link", name="stock movements").click()
        expect(page.locator("#result_list tbody tr")).to_have_count(4)

    def test_replays_a_dead_letter_with_a_reason(
        self, page: Page, live_server: LiveServer, order: Order, pictures: Path
    ) -> None:
        log_in(page, live_server.url)
        page.get_by_role("link", name="Dead letters").first.click()
        page.locator("#result_list tbody th a").click()
        page.screenshot(path=pictures / "admin-dead-letter.png", full_page=True)
        page.get_by_role("link", name="Replay …").click()

        page.get_by_role("button", name="Replay").click()  # the browser itself asks for the reason
        assert DeadLetter.objects.filter(resolved_at=None).exists()
        page.get_by_label("Reason").fill("MUG-GREEN is in the range now")
        page.get_by_role("button", name="Replay").click()

        expect(page.locator(".messagelist")).to_contain_text("done, and noted")
        expect(page.get_by_role("link", name="Replay …")).to_have_count(0)
        page.get_by_role("link", name="History").click()
        expect(page.locator("#change-history")).to_contain_text("Replay: MUG-GREEN is in the range now")
        assert not DeadLetter.objects.filter(resolved_at=None).exists()

    def test_sees_the_dark_theme_and_a_narrow_screen(
        self, page: Page, live_server: LiveServer, order: Order, tmp_path: Path
    ) -> None:
        page.emulate_media(color_scheme="dark")
        log_in(page, live_server.url)
        message = OutboxMessage.objects.filter(partition_key=str(order.pk)).order_by("pk")[0]
        for name, address in (("list", ""), ("message", f"{message.pk}/change/")):
            page.goto(f"{live_server.url}/admin/messaging/outboxmessage/{address}")
            page.set_viewport_size({"width": 1280, "height": 800})
            page.screenshot(path=tmp_path / f"dark-{name}.png", full_page=True)
            page.set_viewport_size({"width": 390, "height": 800})
            page.screenshot(path=tmp_path / f"narrow-{name}.png", full_page=True)
