"""`manage.py check`: the settings themselves, without a cluster. `doctor` examines the live one."""

from typing import Any

from django.core.checks import Error, register

from messaging.registry import subscriptions, topics
from messaging.store.kafka import consumer_settings, producer_settings

_PRODUCER = {"acks": "all", "enable.idempotence": True}
_CONSUMER = {"enable.auto.commit": False, "enable.auto.offset.store": False, "check.crcs": True}


@register
def check_client_settings(**_: Any) -> list[Error]:
    """The effective client settings must be the ones that lose nothing."""
    return [
        *_unsafe("producer", producer_settings(), _PRODUCER, "messaging.E001"),
        *_unsafe("consumer", consumer_settings("any"), _CONSUMER, "messaging.E002"),
    ]


def _unsafe(role: str, effective: dict[str, Any], needed: dict[str, Any], code: str) -> list[Error]:
    return [
        Error(
            f"the {role}'s setting {name} is {effective.get(name)!r}, and messages can be lost",
            hint=f"Set it to {wanted!r} in messaging/store/kafka.py.",
            id=code,
        )
        for name, wanted in needed.items()
        if effective.get(name) != wanted
    ]


@register
def check_subscriptions(**_: Any) -> list[Error]:
    """Every handler can be imported, and every topic that is read is declared."""
    declared = {topic.name for topic in topics()}
    errors = []
    for subscription in subscriptions():
        try:
            callable(subscription.handle)
        except ImportError as error:
            errors.append(
                Error(
                    f"the handler of consumer {subscription.consumer!r} cannot be imported: {error}",
                    hint="Mend MESSAGING_SUBSCRIPTIONS in config/registry.py.",
                    id="messaging.E003",
                )
            )
        errors += [
            Error(
                f"consumer {subscription.consumer!r} reads the topic {topic!r}, which is not declared",
                hint="Add it to MESSAGING_TOPICS in config/registry.py.",
                id="messaging.E004",
            )
            for topic in subscription.topics
            if topic not in declared
        ]
    return errors
