"""The documents do not rot: each test that they name exists, and each relative link leads somewhere.

A test is named as pytest names it, below tests/: `consume/test_consumer.py::TestARedelivery::test_is_absorbed`.
"""

import ast
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEST = re.compile(r"`(?:tests/)?([\w/]+\.py)::([\w:]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


@cache
def names(path: Path) -> frozenset[str]:
    """The tests and classes of tests in a file: `Class`, `Class::test`, `test`."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
            children = node.body if isinstance(node, ast.ClassDef) else []
            found |= {f"{node.name}::{child.name}" for child in children if isinstance(child, ast.FunctionDef)}
    return frozenset(found)


def missing_tests(text: str) -> list[str]:
    return [
        f"{file}::{name}"
        for file, name in TEST.findall(text)
        if not (ROOT / "tests" / file).is_file() or name not in names(ROOT / "tests" / file)
    ]


def broken_links(document: Path, text: str) -> list[str]:
    links = [link for link in LINK.findall(text) if not re.match(r"[a-z]+:|#", link)]
    return [link for link in links if not (document.parent / unquote(link.partition("#")[0])).exists()]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
class TestADocument:
    def test_names_only_tests_that_exist(self, document: Path) -> None:
        assert missing_tests(document.read_text()) == []

    def test_links_only_to_what_exists(self, document: Path) -> None:
        assert broken_links(document, document.read_text()) == []


class TestTheCheckItself:
    def test_finds_a_test_that_is_no_more(self) -> None:
        text = "`schemas/test_documents.py::TestADocument::test_is_gone` and `no/such_file.py::TestX`"

        assert missing_tests(text) == [
            "schemas/test_documents.py::TestADocument::test_is_gone",
            "no/such_file.py::TestX",
        ]

    def test_finds_a_link_that_leads_nowhere(self) -> None:
        assert broken_links(ROOT / "README.md", "[a](docs/no-such.md#x) [b](README.md) [c](https://example.com)") == [
            "docs/no-such.md#x"
        ]
