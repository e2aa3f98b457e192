"""The operator's commands may end anywhere too: run again, they finish what they began, and do nothing twice."""

from collections.abc import Callable
from pathlib import Path

import pytest

from faults.points import POINTS, Role, When
from messaging.models import AuditMark, DeadLetter, OutboxMessage, OutboxPending, OutboxReceipt, ProcessedMessage
from messaging.prove.audit import audit
from orders.models import Order
from tests.factories import LineFactory, StockItemFactory, place
from tests.faults.drained import check_now, lost_until_now
from tests.flow_tools import Flow, skip_what_the_log_holds
from tests.process_tools import Processes
from tests.prove.test_retention import confirm, grow_older

pytestmark = pytest.mark.faults

# A command of a moment has no handler for SIGTERM and catches no stranger's error: both end it as SIGKILL does.
ACTIONS = ("kill", "disconnect")
STRIKES = [
    (f"{point.name}:{when}", action)
    for point in POINTS
    if Role.OPERATOR in point.roles
    for when in point.whens
    for action in (("raise",) if when == When.LOST else ACTIONS)
]


def strikes(command: str) -> list[tuple[str, str]]:
    return [(seam, action) for seam, action in STRIKES if seam.startswith(command)]


@pytest.fixture
def interrupted(processes: Processes, tmp_path: Path) -> Callable[..., None]:
    """Run a command that is struck, then run it again undisturbed."""

    def run(fault: str, *command: str, may_refuse: bool = False) -> None:
        struck = processes.manage(
            *command, DJANGO_SETTINGS_MODULE="faults.settings", FAULT=fault, FAULT_HITS=str(tmp_path), ROLE="operator"
        )
        struck.wait(60)
        assert (tmp_path / f"operator {fault}:1").exists(), processes.output(struck)
        again = processes.manage(*command)
        assert again.wait(60) in ({0, 1} if may_refuse else {0}), processes.output(again)

    return run


Interrupted = Callable[..., None]


class TestReplay:
    @pytest.mark.parametrize(("seam", "action"), strikes("replay"))
    def test_has_its_effect_once(self, flow: Flow, interrupted: Interrupted, seam: str, action: str) -> None:
        StockItemFactory(sku="SKU-A", initial=100)
        place(LineFactory(sku="SKU-A"))
        flow.relay_all()
        flow.consume_all("inventory")
        flow.relay_all()
        # Somebody's hand: the reply does not fit the order any more, until the hand is back.
        Order.objects.update(status=Order.Status.REJECTED)
        flow.consume_all("orders")
        Order.objects.update(status=Order.Status.PENDING)

        interrupted(f"{seam}:{action}", "replay", str(DeadLetter.objects.get().pk), "--reason=mended", may_refuse=True)

        assert Order.objects.get().status == Order.Status.CONFIRMED
        assert not check_now().violations


class TestRepair:
    @pytest.mark.parametrize(("seam", "action"), strikes("repair"))
    def test_puts_each_message_back_once(self, flow: Flow, interrupted: Interrupted, seam: str, action: str) -> None:
        StockItemFactory(sku="SKU-A", initial=100)
        for _ in range(3):
            place(LineFactory(sku="SKU-A"))
        flow.relay_all()
        skip_what_the_log_holds()

        interrupted(f"{seam}:{action}", "audit", "--repair", "--apply", may_refuse=True)

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
    @pytest.mark.parametrize(("seam", "action"), strikes("prune"))
    def test_removes_the_rest_when_it_is_run_again(
        self, flow: Flow, interrupted: Interrupted, seam: str, action: str
    ) -> None:
        StockItemFactory(sku="SKU-A", initial=100)
        for _ in range(3):
            place(LineFactory(sku="SKU-A"))
        flow.settle_everything()
        confirm()
        grow_older(100)

        interrupted(f"{seam}:{action}", "prune")

        assert not OutboxMessage.objects.exists()
        assert not OutboxReceipt.objects.exists()
        assert not ProcessedMessage.objects.exists()
        assert audit().adds_up
