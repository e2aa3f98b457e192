"""`manage.py check`: the settings themselves, without a cluster. `doctor` examines the live one."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, register

from messaging.registry import subscriptions, topics
from messaging.store.kafka import consumer_settings, producer_settings

_PRODUCER = {"acks": "all", "enable.idempotence": True}
_CONSUMER = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
    "check.crcs": True,
}


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
            if not callable(subscription.handle):
                raise ImportError(f"{subscription.handler} is nothing that can be called")
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


@register
def check_retention(**_: Any) -> list[Error]:
    """What can still be delivered must still be known, and what is in the outbox must still be in the inbox."""
    longest = max((topic.retention_days for topic in topics()), default=0)
    kept_longer = {"the outbox keeps a message": settings.OUTBOX_RETENTION_DAYS, "a topic keeps a record": longest}
    return [
        Error(
            f"INBOX_RETENTION_DAYS is {settings.INBOX_RETENTION_DAYS}, but {what} for {days} days",
            hint=f"Set INBOX_RETENTION_DAYS to more than {days}: a message that comes again must be recognised.",
            id="messaging.E005",
        )
        for what, days in kept_longer.items()
        if days >= settings.INBOX_RETENTION_DAYS
    ]
