"""The servers that `make test` started, for tests that stop one of them."""

import os
from pathlib import Path

import pytest

from devservices import Stack


@pytest.fixture
def stack() -> Stack:
    folder = os.environ.get("DEVSERVICES_FOLDER")
    if not folder:
        pytest.skip("it stops a broker, so it needs servers of its own: `make test`")
    return Stack(Path(folder))
