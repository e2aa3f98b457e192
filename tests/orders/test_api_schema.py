"""The published schema is the truth: schemathesis derives requests from it, good and bad, and checks
every answer against it (status, media type, body, headers, authentication, methods)."""

import json
from contextlib import closing
from html.parser import HTMLParser
from typing import Any

import pytest
import schemathesis
from django.test import Client
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from config.api import api
from config.wsgi import application
from messaging.models import OutboxMessage, OutboxPending
from orders.models import IdempotencyKey, Order
from tests.api_tools import ONE_LINE, Caller

TOKEN = "token-of-schemathesis"  # noqa: S105 - of the test's own client

schema = schemathesis.openapi.from_wsgi(
    "/api/openapi.json",
    application,
    config=SchemathesisConfig.from_dict(
        {
            "auth": {"openapi": {"ClientToken": {"bearer": TOKEN}}},
            # A query parameter that nobody knows is ignored, as everywhere on the web.
            "generation": {"allow-extra-parameters": False},
        }
    ),
)


def breaks_a_rule_beyond_json_schema(body: Any) -> bool:
    """JSON Schema has no words for "each SKU once", and 2.0 is an integer to it, but not to us."""
    try:
        skus = [line["sku"] for line in body["lines"]]
        return len(set(skus)) < len(skus) or any(isinstance(x["quantity"], float) for x in body["lines"])
    except (TypeError, KeyError):
        return False


class TestEveryOperation:
    @schema.parametrize()
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    def test_answers_as_documented_and_writes_what_it_says(self, case: Any, client_of_token: Caller) -> None:
        # Each request is judged alone: an earlier one's key would make this one's body "another body".
        IdempotencyKey.objects.all().delete()
        before = Order.objects.count()

        response = case.call()

        excluded = [positive_data_acceptance] if breaks_a_rule_beyond_json_schema(case.body) else []
        case.validate_response(response, excluded_checks=excluded)
        assert Order.objects.count() == before + (response.status_code == 201)
        assert OutboxMessage.objects.count() == OutboxPending.objects.count() == Order.objects.count()

    @pytest.mark.parametrize(
        ("path", "method"), [("/api/orders/{order_id}", "GET"), ("/api/orders/{order_id}/cancel", "POST")]
    )
    def test_answers_as_documented_for_an_order_that_exists(
        self, client_of_token: Caller, path: str, method: str
    ) -> None:
        order_id = json.loads(client_of_token.place(ONE_LINE).content)["id"]

        case = schema[path][method].Case(path_parameters={"order_id": order_id})
        response = case.call_and_validate(headers=client_of_token.authorization)

        assert response.status_code < 300


@pytest.fixture
def client_of_token(committed_db: None) -> Caller:
    return Caller(TOKEN)


class TestTheSchema:
    def test_documents_every_refusal_as_a_problem(self) -> None:
        documented = {
            (path, method): {status for status in operation["responses"] if int(status) >= 400}
            for path, operations in schema.raw_schema["paths"].items()
            for method, operation in operations.items()
        }

        always = {"401", "422", "503"}
        assert documented == {
            ("/api/orders", "post"): always | {"400", "409", "411", "413", "415"},
            ("/api/orders", "get"): always,
            ("/api/orders/{order_id}", "get"): always | {"404"},
            ("/api/orders/{order_id}/cancel", "post"): always | {"404", "409"},
            ("/api/stock", "get"): always,
        }

    def test_is_the_same_however_often_it_is_asked_for(self) -> None:
        assert json.dumps(api.get_openapi_schema()) == json.dumps(api.get_openapi_schema())


class Loaded(HTMLParser):
    """Every address that a page loads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value for name, value in attrs if name in {"src", "href"} and value]


@pytest.mark.django_db  # closing a file's response looks after the connection, where an earlier test has left one
class TestTheDocumentationPage:
    def test_loads_everything_from_this_server(self) -> None:
        page = Client().get("/api/docs").content.decode()

        addresses = Loaded(page).addresses
        assert "/static/ninja/swagger-ui-bundle.js" in addresses
        assert "//" not in page.replace("</", "")
        for address in addresses:
            with closing(Client().get(address)) as file:
                assert file.status_code == 200

    def test_shows_the_schema_to_no_validator_on_the_internet(self) -> None:
        assert '"validatorUrl": null' in Client().get("/api/docs").content.decode()
