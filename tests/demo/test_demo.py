"""What `make up` and `make down` keep, renew and spare. Nothing is started here."""

import json
import socket
from pathlib import Path

from demo import system
from demo.__main__ import abandoned
from devservices import Stack
from devservices.running import claim


def port_of(settings: dict[str, str]) -> int:
    return int(settings["WEB_BIND"].rpartition(":")[2])


class TestTheSettingsOfAStack:
    def test_stay_the_same_from_start_to_start(self, tmp_path: Path) -> None:
        first = system.settings(Stack(tmp_path))

        assert system.settings(Stack(tmp_path)) == first

    def test_are_readable_by_their_owner_alone(self, tmp_path: Path) -> None:
        system.settings(Stack(tmp_path))

        assert (tmp_path / "application.json").stat().st_mode & 0o777 == 0o600
        assert set(json.loads((tmp_path / "application.json").read_text())) >= {"SECRET_KEY", "API_TOKEN"}

    def test_get_another_port_when_somebody_took_theirs(self, tmp_path: Path) -> None:
        first = system.settings(Stack(tmp_path))

        with socket.create_server(("127.0.0.1", port_of(first))):
            second = system.settings(Stack(tmp_path))

        assert port_of(second) != port_of(first)
        assert second["API_URL"] == f"http://{second['WEB_BIND']}"
        assert second["API_TOKEN"] == first["API_TOKEN"]


class TestMakeDown:
    def test_spares_a_test_run_that_lives_and_takes_what_a_killed_one_left(self, tmp_path: Path) -> None:
        for name in ("ephemeral-lives", "ephemeral-killed", "up"):
            (tmp_path / name).mkdir()
        claim(tmp_path / "ephemeral-killed").close()

        with claim(tmp_path / "ephemeral-lives"):
            assert abandoned(tmp_path) == [tmp_path / "ephemeral-killed"]
