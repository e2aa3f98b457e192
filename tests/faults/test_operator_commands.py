"""The operator's commands and pages may end anywhere: run again, they finish what they began, and do nothing twice."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from faults.arm import Strike, actions_at
from faults.points import POINTS, Role, When
from inventory.models import StockItem, StockMovement
from messaging.models import AuditMark, DeadLetter, OutboxMessage, OutboxPending, OutboxReceipt, ProcessedMessage
from messaging.produce import queue
from messaging.prove.audit import audit
from orders.models import Order
from tests.admin.test_second_chance import replay_page, unpark_page
from tests.api_tools import Server, length
from tests.factories import LineFactory, StockItemFactory, place
from tests.faults.drained import check_now, lost_until_now
from tests.flow_tools import Flow, skip_what_the_log_holds, wait_until
from tests.process_tools import Processes
from tests.prove.test_retention import confirm, grow_older

pytestmark = pytest.mark.faults

FOUND = 302  # the answer to a form: look at the row
STOPPED_SECONDS = 5.0  # a second operator has run into the first one's lock, or is through

STRIKES = [
    (f"{point.name}:{when}", action)
    for point in POINTS
    if Role.OPERATOR in point.roles
    for when in point.whens
    for action in (("raise",) if when == When.LOST else actions_at(point.name))
]


def strikes(command: str, *, but: str = "") -> list[tuple[str, str]]:
    return [(seam, action) for seam, action in STRIKES if seam.startswith(command) and action != but]


def armed(fault: str, hits: Path) -> dict[str, str]:
    """What a process is told that is to be struck."""
    return {"DJANGO_SETTINGS_MODULE": "faults.settings", "FAULT": fault, "FAULT_HITS": str(hits), "ROLE": "operator"}


def has_struck(fault: str, hits: Path) -> bool:
    return (hits / f"operator {Strike.parse(fault)}").exists()


def is_committed(seam: str) -> bool:
    """Whether whoever is struck at this seam of a COMMIT has committed."""
    return seam.endswith((".commit:after", ".commit:lost"))


def nothing() -> None:
    """No look between a command that is struck and the next one."""


@pytest.fixture
def interrupted(processes: Processes, tmp_path: Path) -> Callable[..., None]:
    """Run a command that is struck, then run it again undisturbed: beside the first one, where that stands still."""

    def run(fault: str, *command: str, may_refuse: bool = False, between: Callable[[], None] = nothing) -> None:
        struck = processes.manage(*command, **armed(fault, tmp_path))
        if Strike.parse(fault).action == "stop":
            wait_until(lambda: has_struck(fault, tmp_path), what="the first one stands still", seconds=60)
            again = processes.manage(*command)
            # It may wait for a lock of the first one.
            with contextlib.suppress(subprocess.TimeoutExpired):
                again.wait(STOPPED_SECONDS)
            struck.send_signal(signal.SIGCONT)
            struck.wait(60)
        else:
            struck.wait(60)
            assert has_struck(fault, tmp_path), processes.output(struck)
            between()
            again = processes.manage(*command)
        assert again.wait(60) in ({0, 1} if may_refuse else {0}), processes.output(again)

    return run


Interrupted = Callable[..., None]


@pytest.fixture
def dead_letter(processes: Processes, flow: Flow) -> DeadLetter:
    """A reply whose cause of death is mended. `processes` comes first: it skips what the log holds."""
    StockItemFactory(sku="SKU-A", initial=100)
    place(LineFactory(sku="SKU-A"))
    flow.relay_all()
    flow.consume_all("inventory")
    flow.relay_all()
    # Somebody's hand: the reply does not fit the order any more, until the hand is back.
    Order.objects.update(status=Order.Status.REJECTED)
    flow.consume_all("orders")
    Order.objects.update(status=Order.Status.PENDING)
    return DeadLetter.objects.get()


class TestReplay:
    @pytest.mark.parametrize(("seam", "action"), strikes("replay"))
    def test_has_its_effect_once(
        self, dead_letter: DeadLetter, interrupted: Interrupted, seam: str, action: str
    ) -> None:
        def replayed_or_not() -> None:
            assert DeadLetter.objects.exclude(resolved_at=None).exists() == is_committed(seam)
            assert Order.objects.filter(status=Order.Status.CONFIRMED).exists() == is_committed(seam)

        command = "replay", str(dead_letter.pk), "--reason=mended"
        interrupted(f"{seam}:{action}", *command, may_refuse=True, between=replayed_or_not)

        assert Order.objects.get().status == Order.Status.CONFIRMED
        assert not check_now().violations


class TestTheAdmin:
    @pytest.fixture
    def operator(self, processes: Processes, tmp_path: Path) -> Callable[[str], "Operator"]:
        """Somebody whose pages come from a server that is struck."""
        return lambda fault: Operator(Server(processes, **armed(fault, tmp_path)), lambda: has_struck(fault, tmp_path))

    # Two operators at once are in admin/test_second_chance.py: here one that stands still would be all of the server.
    @pytest.mark.usefixtures("dead_letter")
    @pytest.mark.parametrize(("seam", "action"), strikes("admin", but="stop"))
    def test_replays_once_and_never_without_its_note(
        self, flow: Flow, operator: Callable[[str], "Operator"], seam: str, action: str
    ) -> None:
        dead_letter = DeadLetter.objects.get()
        place(LineFactory(sku="SKU-A"))
        parked = OutboxPending.objects.get()
        queue.park([queue.Refused(parked.pk, "MSG_SIZE_TOO_LARGE")])
        pages = {
            replay_page(dead_letter): DeadLetter.objects.exclude(resolved_at=None),
            unpark_page(parked.pk): OutboxPending.objects.filter(parked_at=None),
        }
        other, page = sorted(pages, key=lambda page: page.startswith("/admin/messaging/outbox") == ("unpark" in seam))
        olga = operator(f"{seam}:{action}")

        olga.post(page)

        assert olga.was_struck()
        assert LogEntry.objects.count() == pages[page].count()
        if action != "term":  # after which gunicorn finishes what it has begun
            assert pages[page].exists() == is_committed(seam)
        wait_until(lambda: olga.post(page) == FOUND, what="the page is answered")
        assert LogEntry.objects.count() == pages[page].count() == 1
        assert olga.post(other) == FOUND
        flow.settle_everything()
        assert not check_now().violations


class Operator:
    """Somebody who may do everything, logged in with a browser."""

    def __init__(self, server: Server, was_struck: Callable[[], bool]) -> None:
        self.was_struck = was_struck
        browser = Client()
        browser.force_login(User.objects.create_superuser("olga"))
        self._server = server
        self._session = browser.cookies["sessionid"].value

    def post(self, page: str) -> int | None:
        """Send the page's form; the answer's status, or None if the server died over it."""
        token = "x" * 32  # Django asks that the form and the cookie say the same
        body = urlencode({"reason": "mended", "csrfmiddlewaretoken": token}).encode()
        cookies = f"Cookie: sessionid={self._session}; csrftoken={token}"
        form = "Content-Type: application/x-www-form-urlencoded"
        try:
            return self._server.ask("POST", page, cookies, form, length(body), body=body)[0]
        except (ConnectionError, IndexError):  # no answer, or an empty one
            return None


class TestRepair:
    @pytest.mark.parametrize(("seam", "action"), strikes("repair"))
    def test_puts_each_message_back_once(self, flow: Flow, interrupted: Interrupted, seam: str, action: str) -> None:
        StockItemFactory(sku="SKU-A", initial=100)
        for _ in range(3):
            place(LineFactory(sku="SKU-A"))
        flow.relay_all()
        skip_what_the_log_holds()

        def put_back_or_not() -> None:
            put_back = 3 if is_committed(seam) else 0
            assert (OutboxPending.objects.count(), OutboxReceipt.objects.count()) == (put_back, 3 - put_back)

        # The audit's own transaction, which only reads, is committed first.
        nth = 2 if seam.startswith("repair.commit") else 1
        fault = f"{seam}:{action}:{nth}"
        interrupted(fault, "audit", "--repair", "--apply", may_refuse=True, between=put_back_or_not)

        assert OutboxPending.objects.count() == 3
        assert OutboxReceipt.objects.count() == 0
        flow.settle_everything()
        assert not check_now(lost_until=lost_until_now()).violations


class TestTheAudit:
    @pytest.mark.parametrize(("seam", "action"), strikes("audit"))
    def test_raises_its_mark_as_far_as_before(
        self, flow: Flow, interrupted: Interrupted, seam: str, action: str
    ) -> None:
        StockItemFactory(sku="SKU-A", initial=100)
        place(LineFactory(sku="SKU-A"))
        flow.settle_everything()
        audit(new_only=True)

        interrupted(f"{seam}:{action}", "audit", "--new")

        audit(new_only=True)
        assert AuditMark.objects.get(pk="inventory").confirmed_to == OutboxMessage.objects.latest("id").pk
        assert not check_now(groups_at_the_end=True).violations


class TestPrune:
    @pytest.fixture
    def old(self, processes: Processes, flow: Flow) -> Flow:
        """Three orders that can be pruned. `processes` comes first: it skips what the log holds."""
        StockItemFactory(sku="SKU-A", initial=100)
        for _ in range(3):
            place(LineFactory(sku="SKU-A"))
        flow.settle_everything()
        confirm()
        grow_older(100)
        return flow

    @pytest.mark.parametrize(("seam", "action"), strikes("prune"))
    def test_removes_the_rest_when_it_is_run_again(
        self, old: Flow, interrupted: Interrupted, seam: str, action: str
    ) -> None:
        interrupted(f"{seam}:{action}", "prune")

        assert not OutboxMessage.objects.exists()
        assert not OutboxReceipt.objects.exists()
        assert not ProcessedMessage.objects.exists()
        assert audit().adds_up

    IN_TWOS = """
import django
django.setup()
from django.core.management import call_command
from messaging.prove import retention
retention.BATCH = 2
call_command("prune")
"""

    @pytest.mark.parametrize("action", ["raise", "term", "kill", "disconnect"])
    def test_that_ended_between_two_batches_goes_on_and_touches_nothing_young(
        self, old: Flow, processes: Processes, tmp_path: Path, action: str
    ) -> None:
        place(LineFactory(sku="SKU-A"))
        old.settle_everything()
        young = set(OutboxMessage.objects.order_by("-pk").values_list("pk", flat=True)[:2])
        fault = f"prune.batch:after:{action}:2"

        struck = processes.start(sys.executable, "-c", self.IN_TWOS, **armed(fault, tmp_path))
        assert struck.wait(60) != 0
        assert OutboxMessage.objects.count() == OutboxReceipt.objects.count() == len(young) + 2
        assert ProcessedMessage.objects.count() == 8
        assert audit().adds_up
        assert processes.manage("prune").wait(60) == 0

        assert set(OutboxMessage.objects.values_list("pk", flat=True)) == young
        assert set(OutboxReceipt.objects.values_list("pk", flat=True)) == young
        assert ProcessedMessage.objects.count() == len(young)
        item = StockItem.objects.get()
        assert item.on_hand == item.initial + sum(StockMovement.objects.values_list("quantity", flat=True))
        assert StockMovement.objects.count() == 4
        assert audit().adds_up
