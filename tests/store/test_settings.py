"""The client's effective settings, and the check that refuses others."""

from typing import Any

import pytest

from messaging import checks
from messaging.envelope import MAX_PAYLOAD_BYTES
from messaging.registry import Subscription, Topic
from messaging.store.kafka import consumer_settings, producer_settings
from messaging.store.topics import settings_of


class TestTheProducer:
    def test_waits_for_all_in_sync_replicas_and_repeats_without_doubling(self) -> None:
        settings = producer_settings()

        assert settings["acks"] == "all"
        assert settings["enable.idempotence"] is True
        assert settings["retries"] == 2_147_483_647
        assert settings["max.in.flight.requests.per.connection"] <= 5

    def test_makes_no_batch_that_its_last_message_could_push_above_the_topic_s_limit(self) -> None:
        headers_and_framing = 10_000
        limit = int(settings_of(Topic("any"))["max.message.bytes"])

        assert producer_settings()["batch.size"] + MAX_PAYLOAD_BYTES + headers_and_framing <= limit

    def test_puts_a_key_where_kafka_s_own_clients_put_it(self) -> None:
        assert producer_settings()["partitioner"] == "murmur2_random"


class TestTheConsumer:
    def test_commits_nothing_by_itself(self) -> None:
        settings = consumer_settings("any")

        assert settings["enable.auto.commit"] is False
        assert settings["enable.auto.offset.store"] is False

    def test_reads_from_the_start_where_its_offset_is_gone(self) -> None:
        assert consumer_settings("any")["auto.offset.reset"] == "earliest"


class TestManageCheck:
    @pytest.mark.parametrize(
        ("role", "name", "value", "code"),
        [
            ("producer_settings", "acks", "1", "messaging.E001"),
            ("producer_settings", "enable.idempotence", False, "messaging.E001"),
            ("consumer_settings", "enable.auto.commit", True, "messaging.E002"),
            ("consumer_settings", "enable.auto.offset.store", True, "messaging.E002"),
            ("consumer_settings", "auto.offset.reset", "latest", "messaging.E002"),
            ("consumer_settings", "check.crcs", False, "messaging.E002"),
        ],
    )
    def test_refuses_an_unsafe_setting(
        self, monkeypatch: pytest.MonkeyPatch, role: str, name: str, value: object, code: str
    ) -> None:
        def flipped(*_: Any) -> dict[str, Any]:
            safe = consumer_settings("any") if role == "consumer_settings" else producer_settings()
            return safe | {name: value}

        monkeypatch.setattr(checks, role, flipped)

        errors = checks.check_client_settings()

        assert [error.id for error in errors] == [code]
        assert name in errors[0].msg

    @pytest.mark.parametrize("handler", ["inventory.no_such.handle", "config.settings.OUTBOX_RETENTION_DAYS"])
    def test_refuses_a_handler_that_cannot_be_imported_or_called(self, settings: Any, handler: str) -> None:
        settings.MESSAGING_SUBSCRIPTIONS = [Subscription("x", ("orders.events",), handler)]

        assert [error.id for error in checks.check_subscriptions()] == ["messaging.E003"]

    def test_refuses_a_topic_that_is_not_declared(self, settings: Any) -> None:
        settings.MESSAGING_SUBSCRIPTIONS = [Subscription("x", ("no.topic",), "inventory.reservations.handle")]

        assert [error.id for error in checks.check_subscriptions()] == ["messaging.E004"]
