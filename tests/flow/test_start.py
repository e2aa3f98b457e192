"""A wrong setting stops the start with a sentence that names it and the fix."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.process_tools import ROOT, environment

COMMANDS = {
    "manage.py": ["manage.py", "check"],
    "gunicorn": ["-m", "gunicorn", "config.wsgi", "--bind", "127.0.0.1:0"],
    "celery worker": ["-m", "celery", "-A", "config", "worker"],
    "celery beat": ["-m", "celery", "-A", "config", "beat"],
}


def start(program: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, with these settings changed; "absent" leaves one out."""
    env = {name: value for name, value in (environment() | changes).items() if value != "absent"}
    env["DJANGO_SETTINGS_MODULE"] = "config.settings"
    command = [sys.executable, *COMMANDS[program]]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)


def check(**changes: str) -> subprocess.CompletedProcess[str]:
    return start("manage.py", **changes)


def seed_stock(database_url: str) -> subprocess.CompletedProcess[str]:
    """A command that asks the database."""
    env = environment() | {"DATABASE_URL": database_url}
    command = [sys.executable, "manage.py", "seed_stock"]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.mark.django_db
@pytest.mark.parametrize("program", COMMANDS)
class TestEveryProgram:
    def test_says_which_setting_is_missing(self, program: str) -> None:
        ended = start(program, CELERY_BROKER_URL="absent")

        assert ended.returncode > 0
        assert f"{program.split(maxsplit=1)[0]}: the setting CELERY_BROKER_URL is missing" in ended.stderr
        assert "Traceback" not in ended.stderr

    def test_says_whose_file_cannot_be_read(self, program: str) -> None:
        ended = start(program, DATABASE_URL="absent", DATABASE_URL_FILE="/no/such/file")

        assert ended.returncode > 0
        assert f"{program.split(maxsplit=1)[0]}: the setting DATABASE_URL cannot be read from its file" in ended.stderr
        assert "DATABASE_URL_FILE=/no/such/file" in ended.stderr
        assert "Traceback" not in ended.stderr


@pytest.mark.django_db
class TestASetting:
    @pytest.mark.parametrize(
        "name", ["SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "CELERY_BROKER_URL"]
    )
    def test_that_is_missing_is_named_with_an_example(self, name: str) -> None:
        ended = check(**{name: "absent"})

        assert ended.returncode != 0
        assert f"the setting {name} is missing" in ended.stderr
        assert f"for example {name}=" in ended.stderr
        assert "Traceback" not in ended.stderr

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("SECRET_KEY", "short"),
            ("DATABASE_URL", "mysql://somewhere/else"),
            ("KAFKA_BOOTSTRAP_SERVERS", "kafka1"),
            ("KAFKA_BOOTSTRAP_SERVERS", "kafka1:9092,kafka2"),
            ("KAFKA_BOOTSTRAP_SERVERS", "kafka1:99999"),
            ("DATABASE_URL", "postgres://a:b@127.0.0.1:54x2/shop"),
            ("DATABASE_URL", "postgres://a:b@127.0.0.1:5432/"),
            ("ALLOWED_HOSTS", ","),
            ("CELERY_BROKER_URL", "amqp://somewhere"),
            # These have a default, and are not taken for it, or for "no", when they are misspelt.
            ("HTTPS_ONLY", "ture"),
            ("AUDIT_REPAIRS", "ja"),
            ("LOG_LEVEL", "LOUD"),
            ("RELAY_SHIFT_SECONDS", "0"),
            ("OUTBOX_RETENTION_DAYS", "-5"),
            ("CSRF_TRUSTED_ORIGINS", "shop.example.com"),
            ("SECRET_KEY_FALLBACKS", "short"),
        ],
    )
    def test_that_is_wrong_is_named_with_the_reason(self, name: str, value: str) -> None:
        ended = check(**{name: value})

        assert ended.returncode != 0
        assert f"the setting {name} is wrong" in ended.stderr
        assert "Traceback" not in ended.stderr

    @pytest.mark.parametrize("program", ["manage.py", "celery worker"])
    def test_that_cannot_be_right_beside_another_is_named(self, program: str) -> None:
        ended = start(program, OUTBOX_RETENTION_DAYS="1", INBOX_RETENTION_DAYS="2")

        assert ended.returncode > 0
        assert "INBOX_RETENTION_DAYS is 2, but a topic keeps a record for 30 days" in ended.stderr
        assert "Traceback" not in ended.stderr

    @pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["a folder", "no text"])
    def test_in_a_file_without_text_is_named(self, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path
        if content is not None:
            path = tmp_path / "secret"
            path.write_bytes(content)

        ended = check(SECRET_KEY="absent", SECRET_KEY_FILE=str(path))  # noqa: S106 - left out, not a password

        assert ended.returncode > 0
        assert "the setting SECRET_KEY cannot be read from its file" in ended.stderr
        assert "Traceback" not in ended.stderr

    def test_in_a_file_may_end_its_line(self, tmp_path: Path) -> None:
        (tmp_path / "level").write_text("ERROR\n")

        assert check(LOG_LEVEL="absent", LOG_LEVEL_FILE=str(tmp_path / "level")).returncode == 0

    def test_goes_before_its_file(self) -> None:
        """Or else `make demo` and `make test` would write to whatever database a file of the shell's names."""
        assert check(DATABASE_URL_FILE="/no/such/file").returncode == 0

    @pytest.mark.parametrize(("name", "value"), [("WEB_WORKERS", "0"), ("WEB_BIND", "8000")])
    def test_of_gunicorn_s_own_that_is_wrong_is_named(self, name: str, value: str) -> None:
        ended = start("gunicorn", **{name: value})

        assert ended.returncode > 0
        assert f"gunicorn: the setting {name} is wrong" in ended.stderr
        assert "Traceback" not in ended.stderr

    def test_of_libpq_comes_in_the_database_s_url(self) -> None:
        url = environment()["DATABASE_URL"] + "?sslmode=require&options=-c%20search_path%3Dpublic"

        ended = seed_stock(url)

        assert ended.returncode != 0
        assert "server does not support SSL, but SSL was required" in ended.stderr

    def test_database_that_does_not_answer_is_said_in_one_sentence(self) -> None:
        ended = seed_stock("postgres://x:y@127.0.0.1:1/x")

        assert ended.returncode != 0
        assert "the database does not answer" in ended.stderr
        assert "Traceback" not in ended.stderr
