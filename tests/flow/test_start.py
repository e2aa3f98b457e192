"""A wrong setting stops the start with a sentence that names it and the fix."""

import subprocess
import sys

import pytest

from tests.process_tools import ROOT, environment


def check(**changes: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in (environment() | changes).items() if value != "absent"}
    env["DJANGO_SETTINGS_MODULE"] = "config.settings"
    return subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )


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
            ("DATABASE_URL", "postgres://a:b@127.0.0.1:54x2/shop"),
            ("CELERY_BROKER_URL", "amqp://somewhere"),
            # These have a default, and are not taken for it, or for "no", when they are misspelt.
            ("HTTPS_ONLY", "ture"),
            ("AUDIT_REPAIRS", "ja"),
            ("LOG_LEVEL", "LOUD"),
            ("RELAY_SHIFT_SECONDS", "0"),
            ("OUTBOX_RETENTION_DAYS", "-5"),
        ],
    )
    def test_that_is_wrong_is_named_with_the_reason(self, name: str, value: str) -> None:
        ended = check(**{name: value})

        assert ended.returncode != 0
        assert f"the setting {name} is wrong" in ended.stderr
        assert "Traceback" not in ended.stderr

    def test_database_that_does_not_answer_is_said_in_one_sentence(self) -> None:
        env = environment() | {"DATABASE_URL": "postgres://x:y@127.0.0.1:1/x"}

        ended = subprocess.run(
            [sys.executable, "manage.py", "seed_stock"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
        )

        assert ended.returncode != 0
        assert "the database does not answer" in ended.stderr
        assert "Traceback" not in ended.stderr
