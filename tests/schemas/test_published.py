"""docs/ publishes exactly what the code writes and reads."""

import json
from pathlib import Path

import jsonschema_rs
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from hypothesis import given

from messaging.envelope import Envelope, Payload, encode_headers
from messaging.management.schemas import HEADERS, differing, documents
from messaging.registry import messages, subscriptions, topics
from tests.schemas.payloads import ENVELOPES, PAYLOADS

DOCS = Path(settings.BASE_DIR) / "docs"
SCHEMAS = {
    name: jsonschema_rs.validator_for(json.loads(text))
    for path, text in documents().items()
    if (name := path.stem) != "asyncapi"
}


class TestTheDocs:
    def test_hold_what_the_code_says_today(self) -> None:
        call_command("export_schemas", check=True, verbosity=0)

    def test_have_one_schema_for_each_message(self) -> None:
        assert {path.stem for path in (DOCS / "schemas").glob("*.json")} == {m.message_type for m in messages()}

    def test_name_every_topic_and_consumer(self) -> None:
        document = json.loads((DOCS / "asyncapi.json").read_text())

        assert set(document["channels"]) == {topic.name for topic in topics()}
        receivers = {
            name.partition(".")[0] for name, one in document["operations"].items() if one["action"] == "receive"
        }
        assert receivers == {subscription.consumer for subscription in subscriptions()}

    def test_refer_only_to_what_is_there(self) -> None:
        document = json.loads((DOCS / "asyncapi.json").read_text())

        for reference in _references(document):
            if not reference.startswith("#/"):
                assert (DOCS / reference).is_file()
                continue
            found = document
            for part in reference[2:].split("/"):
                found = found[part]


class TestASchema:
    @given(PAYLOADS)
    def test_accepts_every_payload_that_its_model_can_hold(self, payload: Payload) -> None:
        SCHEMAS[payload.message_type].validate(json.loads(payload.model_dump_json()))

    @pytest.mark.parametrize(
        "lines",
        [[], [{"sku": "", "quantity": 1}], [{"sku": "A", "quantity": 0}], [{"sku": "A", "quantity": 1_000_001}]],
    )
    def test_refuses_what_the_reader_refuses(self, lines: list[dict[str, object]]) -> None:
        order = {"order_id": "00000000-0000-0000-0000-000000000001", "lines": lines}

        assert not SCHEMAS["orders.order_placed.v1"].is_valid(order)

    @given(ENVELOPES)
    def test_of_the_headers_accepts_those_of_every_message(self, envelope: Envelope) -> None:
        headers = dict(encode_headers(envelope))

        jsonschema_rs.validator_for(HEADERS, validate_formats=True).validate(headers)
        assert set(HEADERS["required"]) <= set(headers) <= set(HEADERS["properties"])


class TestExportSchemas:
    def test_with_check_names_what_differs_and_the_command_to_run(self, tmp_path: Path) -> None:
        call_command("export_schemas", folder=tmp_path, verbosity=0)
        (tmp_path / "schemas" / "orders.order_placed.v1.json").write_text("{}")
        (tmp_path / "schemas" / "orders.forgotten.v1.json").write_text("{}")
        (tmp_path / "asyncapi.json").unlink()

        with pytest.raises(CommandError) as refused:
            call_command("export_schemas", folder=tmp_path, check=True)

        for named in (
            "asyncapi.json",
            "orders.order_placed.v1.json",
            "orders.forgotten.v1.json",
            "manage.py export_schemas",
        ):
            assert named in str(refused.value)

    def test_mends_what_differs(self, tmp_path: Path) -> None:
        (tmp_path / "schemas").mkdir()
        (tmp_path / "schemas" / "orders.forgotten.v1.json").write_text("{}")

        call_command("export_schemas", folder=tmp_path, verbosity=0)

        assert differing(tmp_path) == []
        assert not (tmp_path / "schemas" / "orders.forgotten.v1.json").exists()


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [found for value in node.values() for found in _references(value)]
    if isinstance(node, list):
        return [found for value in node for found in _references(value)]
    return []
