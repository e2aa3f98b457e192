"""The figures of a run count what the consumers really log."""

import json
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from faults.chaos import figures

CONSUME = Path(__file__).resolve().parents[2] / "messaging" / "consume"


@pytest.mark.parametrize("event", [figures.ASSIGNED, figures.REVOKED, figures.LOST, figures.SET_BACK, *figures.REFUSED])
def test_each_event_that_is_counted_stands_in_the_consumers_source(event: str) -> None:
    assert any(f'"{event}"' in file.read_text() for file in CONSUME.glob("*.py"))


def test_a_commit_refused_by_a_rebalance_counts_and_one_refused_by_an_outage_does_not(tmp_path: Path) -> None:
    refusals = [KafkaError(KafkaError.REBALANCE_IN_PROGRESS), KafkaError(KafkaError._TIMED_OUT)]
    lines = [json.dumps({"event": figures.REFUSED[0], "error": str(error)}) for error in refusals]
    (tmp_path / "consume-orders.log").write_text("\n".join([*lines, "no JSON", '{"event": "partitions lost"}']))

    assert figures._rebalances(tmp_path)["rebalances_in_mid_handler"] == 2
