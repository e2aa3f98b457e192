"""The table of failure windows: complete, and each seam of it struck by a test."""

import importlib
from types import ModuleType

from faults.points import POINTS, Role, When
from faults.windows import DOCUMENT, document, windows
from tests.faults import test_operator_commands
from tests.faults.test_crash_points import rounds


class TestTheTable:
    def test_is_what_the_document_shows(self) -> None:
        assert DOCUMENT.read_text() == document()

    def test_names_every_window_that_a_seam_opens(self) -> None:
        assert {point.window for point in POINTS} <= {window.id for window in windows()}

    def test_has_a_test_for_each_window_or_a_seam(self) -> None:
        opened = {point.window for point in POINTS}
        assert [window.id for window in windows() if not window.tests and window.id not in opened] == []

    def test_names_tests_that_exist(self) -> None:
        missing = [test for window in windows() for test in window.tests if not exists(test)]
        assert missing == []


def exists(test: str) -> bool:
    """Whether pytest would find a test of this name, below tests/."""
    file, *path = test.split("::")
    found: object = importlib.import_module("tests." + file.removesuffix(".py").replace("/", "."))
    for name in path:
        found = getattr(found, name, None)
    return callable(found) and path[-1].startswith("test_")


EVERYWHERE = {"raise", "term", "kill", "stop", "disconnect"}
AT_KAFKA = {"relay.publish", "relay.collect", "consume.read", "consume.offsets"}
# Where a transaction ends, or a statement that needs none: its answer can be lost after it had its effect.
COMMITTING = {
    *("api.commit", "consume.commit", "replay.commit", "admin.commit", "repair.commit"),
    *("relay.claim", "relay.settle", "relay.park", "relay.release", "audit.mark", "prune.batch"),
}


class TestEachSeam:
    def test_whose_statement_commits_can_lose_its_answer(self) -> None:
        assert {point.name for point in POINTS if When.LOST in point.whens} == COMMITTING

    def test_is_struck_in_each_of_its_roles_with_each_action_that_makes_sense_there(self) -> None:
        flowing = {(role, seam, action) for action, one in rounds() for role, seam in one.items()}
        by_operators = {(Role.OPERATOR, *strike) for strike in strikes_of_the_tests(test_operator_commands)}

        wanted = {
            (role, f"{point.name}:{when}", action)
            for point in POINTS
            for role in point.roles
            for when in point.whens
            for action in wanted_at(point.name, when)
            # The admin's server is one process here: if it stood still, nobody could be beside it.
            if not (point.name.startswith("admin.") and action == "stop")
        }
        assert flowing | by_operators == wanted


def wanted_at(point: str, when: When) -> set[str]:
    if when == When.LOST:
        return {"raise"}
    return EVERYWHERE | ({"refuse", "bug"} if point in AT_KAFKA else set())


def strikes_of_the_tests(module: ModuleType) -> set[tuple[str, str]]:
    """Those that the module's tests are parametrised with, not those that a list says."""
    classes = [value for name, value in vars(module).items() if name.startswith("Test")]
    tests = [test for one in classes for name, test in vars(one).items() if name.startswith("test_")]
    marks = [mark for test in tests for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    return {strike for mark in marks if mark.args[0] == ("seam", "action") for strike in mark.args[1]}
