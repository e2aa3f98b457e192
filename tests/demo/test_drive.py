"""The demo's last word, its exit status: it says no to a proof that fails, and to faults that proved nothing."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from demo import drive, faults, prepare
from demo import proof as proof_module
from demo.load import Load, LoadFailed, Sent
from demo.proof import Proof
from devservices import DevservicesError
from devservices.program import Process
from tests.demo.test_proof import proof

ORDERS = 10


@dataclass
class System:
    """What the demo would meet; it plays the stack too."""

    proof: Proof = field(default_factory=proof)
    final: bool = True
    load_fails: str = ""
    broker: str = ""  # why it does not come back
    dead: tuple[str, ...] = ()  # roles that nobody starts again

    def processes(self) -> list[Process]:
        return [Process("web", 1, 1, "running"), *(Process(role, None, None, "fatal") for role in self.dead)]

    def wait_ready(self, role: str) -> None:
        if self.broker:
            raise DevservicesError(self.broker)


Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the demo against such a system; its exit status."""

    def run(system: System, *arguments: str) -> int:
        sent = Sent(order_ids={f"order-{n}" for n in range(ORDERS // 2)})

        def kill_three(*_: object) -> str:
            return "kafka-1"

        def load(_: Load, *, at_half: Callable[[Sent], None]) -> Sent:
            if system.load_fails:
                raise LoadFailed(system.load_fails)
            at_half(sent)
            sent.order_ids |= {f"order-{n}" for n in range(ORDERS)}
            return sent

        monkeypatch.setattr(Load, "run", load)
        monkeypatch.setattr(drive, "_attach", lambda: (system, {}))
        monkeypatch.setattr(drive, "_start_application", lambda *_: None)
        monkeypatch.setattr(drive, "_wait_until_ready", lambda *_: None)
        monkeypatch.setattr(prepare, "prepare", lambda **_: None)
        monkeypatch.setattr(faults, "kill_three", kill_three)
        monkeypatch.setattr(faults, "RESTART_SECONDS", 0.5)
        monkeypatch.setattr(proof_module, "database_now", lambda: None)
        monkeypatch.setattr(proof_module, "wait_until_final", lambda **_: system.final)
        monkeypatch.setattr(proof_module, "prove", lambda **_: system.proof)
        for name in ("DEVSERVICES_FOLDER", "API_URL", "API_TOKEN", "LOG_LEVEL"):
            monkeypatch.setenv(name, "unused")
        monkeypatch.setattr("sys.argv", ["demo", "--orders", str(ORDERS), *arguments])
        return drive.main()

    return run


def last_line(captured: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """Of what was printed for the reader; and all that was said beside it."""
    out, err = captured.readouterr()
    return out.splitlines()[-1], err


class TestTheDemo:
    def test_ends_with_nothing_lost_and_0_where_the_proof_holds(
        self, run: Run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(System()) == 0

        line, said = last_line(capsys)
        assert line == "lost 0, extra 0, stuck 0"
        assert "the kills came after 5 to 5 of 10 orders were answered" in said
        assert "kafka-1 is back" in said
        assert "failed" not in said

    @pytest.mark.parametrize(
        ("denied", "verdict"),
        [
            (proof(lost=1), "lost 1, extra 0, stuck 0"),
            (proof(extra=2), "lost 0, extra 2, stuck 0"),
            (proof(pending=1, dead_letters=2), "lost 0, extra 0, stuck 3"),
            (proof(unknown=("order-7",)), "NOT PROVEN: lost 1, extra 0, stuck 0"),
            (proof(applied=19), "NOT PROVEN: lost 0, extra 0, stuck 0"),
            (proof(stock_mismatches=1), "NOT PROVEN: lost 0, extra 0, stuck 0"),
        ],
    )
    def test_fails_and_never_says_that_all_is_well_where_the_proof_does_not_hold(
        self, run: Run, capsys: pytest.CaptureFixture[str], denied: Proof, verdict: str
    ) -> None:
        assert run(System(proof=denied)) == 1

        assert last_line(capsys)[0] == verdict

    def test_marks_the_sum_that_is_wrong_and_names_the_ids(self, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        denied = replace(
            proof(applied=19, lost=1, ids={"lost": ["order 7"]}, log_ids={"gone_from_log": ["message 6"]}),
            unknown_ids=["order-8"],
            waiting_ids=["message 9"],
        )

        run(System(proof=denied))

        lines = capsys.readouterr().out.splitlines()
        assert "NOT  written 20 = acknowledged 20 = in the log 20 = applied once 19" in lines
        assert {"lost: order 7", "gone_from_log: message 6", "waits: message 9"} <= set(lines)
        assert "answered with 201, not in the database: order-8" in lines
        assert sum(line.startswith("ok ") for line in lines) == 2

    def test_tells_machines_all_that_it_tells_people(self, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        denied = replace(proof(lost=1, ids={"lost": ["order 7"]}), unknown_ids=["order-8"], waiting_ids=["message 9"])

        assert run(System(proof=denied, final=False), "--format", "json") == 1

        told = json.loads(capsys.readouterr().out)
        assert (told["lost"], told["ids"]["lost"]) == (1, ["order 7"])
        assert (told["unknown_ids"], told["waiting_ids"]) == (["order-8"], ["message 9"])
        assert told["failures"] == ["after 90 s something is still not final"]
        assert told["holds"] is False

    @pytest.mark.parametrize(
        ("system", "sentence"),
        [
            pytest.param(System(broker="no answer"), "kafka-1 did not come back: no answer", id="a broker stays away"),
            pytest.param(System(dead=("worker",)), "not running again after", id="the worker stays away"),
            pytest.param(System(final=False), "after 90 s something is still not final", id="not final in time"),
        ],
    )
    def test_fails_with_a_sentence_where_the_faults_or_the_wait_prove_nothing(
        self, run: Run, capsys: pytest.CaptureFixture[str], system: System, sentence: str
    ) -> None:
        assert run(system) == 1

        line, said = last_line(capsys)
        assert line == "NOT PROVEN: lost 0, extra 0, stuck 0"
        assert f"demo: failed: {sentence}" in said

    def test_tells_machines_too_that_the_proof_does_not_hold(
        self, run: Run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert run(System(final=False), "--format", "json") == 1

        assert json.loads(capsys.readouterr().out)["holds"] is False

    def test_fails_where_the_api_answered_what_it_must_not(self, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(System(load_fails="500")) == 1

        assert "the load failed: 500" in capsys.readouterr().err
