"""What docker compose's containers find in /run/credentials."""

from pathlib import Path

import pytest

from demo import credentials


def test_the_first_start_makes_every_secret_at_random_and_the_next_one_keeps_them(tmp_path: Path) -> None:
    credentials.make(tmp_path, {})
    first = {path.name: path.read_text() for path in tmp_path.iterdir()}

    credentials.make(tmp_path, {})

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == first
    assert first.keys() == {*credentials.SECRETS, "DATABASE_URL"}
    assert len(set(first.values())) == len(first)
    assert len(first["SECRET_KEY"]) >= 50


def test_a_secret_that_the_environment_sets_is_taken_from_there(tmp_path: Path) -> None:
    credentials.make(tmp_path, {})

    credentials.make(tmp_path, {"POSTGRES_PASSWORD": "p@ss/word", "API_TOKEN": ""})

    assert (tmp_path / "POSTGRES_PASSWORD").read_text() == "p@ss/word"
    assert (tmp_path / "DATABASE_URL").read_text() == "postgres://shop:p%40ss%2Fword@postgres:5432/shop"
    assert (tmp_path / "API_TOKEN").read_text()


def test_show_prints_what_the_host_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    credentials.make(tmp_path, {"ADMIN_PASSWORD": "open sesame"})

    credentials.show(tmp_path, {"WEB_PORT": "8001", "POSTGRES_PORT": "15433", "KAFKA_PORTS": "1,2,3"})

    shown = capsys.readouterr().out
    assert "http://127.0.0.1:8001/admin/     admin / open sesame" in shown
    assert "@127.0.0.1:15433/shop" in shown
    assert "KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:1,127.0.0.1:2,127.0.0.1:3" in shown
