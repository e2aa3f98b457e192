"""`.env.example` documents every setting that the code or docker compose reads, and no other."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

READ_IN_PYTHON = re.compile(r'(?:env(?:\.\w+)?|required|optional)\(\s*"([A-Z0-9_]+)"')
READ_IN_COMPOSE = re.compile(r"\$\{([A-Z0-9_]+)")
DOCUMENTED = re.compile(r"^#?([A-Z0-9_]+)=", re.MULTILINE)


def settings_read() -> set[str]:
    python = [*(ROOT / "config").rglob("*.py"), ROOT / "gunicorn.conf.py"]
    found = {name for path in python for name in READ_IN_PYTHON.findall(path.read_text())}
    return found | set(READ_IN_COMPOSE.findall((ROOT / "docker-compose.yml").read_text()))


class TestTheExample:
    def test_documents_exactly_the_settings_that_are_read(self) -> None:
        documented = set(DOCUMENTED.findall((ROOT / ".env.example").read_text()))

        assert "WEB_BIND" in documented
        assert documented == settings_read()
