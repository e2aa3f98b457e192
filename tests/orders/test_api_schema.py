"""The published schema is the truth: schemathesis derives requests from it, good and bad, and checks
every answer against it (status, media type, body, headers, authentication, methods)."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from config.wsgi import application
from tests.api_tools import Caller


schema = schemathesis.openapi.from_wsgi("/api/openapi.json", application)


class TestEveryOperation:
    @schema.parametrize()
    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    def test_answers_as_documented(self, case: Any, caller: Caller) -> None:
        case.call_and_validate(headers=caller.authorization)
