"""What the project's wiring (config/registry.py) declares: topics, messages, and who reads them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from django.conf import settings
from django.utils.module_loading import import_string

from messaging.envelope import Envelope, Payload

Handler = Callable[[Sequence[Envelope]], None]


@dataclass(frozen=True)
class Topic:
    """A topic to provision. The partition count is for ever: changing it moves keys."""

    name: str
    partitions: int = 3
    retention_days: int = 30


@dataclass(frozen=True)
class Subscription:
    """A consumer: its name (also the consumer group and the inbox's namespace), what it reads, and
    the handler that gets each batch of new messages, in order, inside the open transaction."""

    consumer: str
    topics: tuple[str, ...]
    handler: str

    @cached_property
    def handle(self) -> Handler:
        handler: Handler = import_string(self.handler)
        return handler


@dataclass(frozen=True)
class KeyLink:
    """A page of the admin about a message's key, named by its URL so that nobody imports anybody: the
    page of the row with this key, or the list that finds the key by its search."""

    label: str
    url_name: str
    by_search: bool = False


def topics() -> list[Topic]:
    declared: list[Topic] = settings.MESSAGING_TOPICS
    return declared


def messages() -> list[type[Payload]]:
    declared: list[type[Payload]] = settings.MESSAGING_MESSAGES
    return declared


def subscriptions() -> list[Subscription]:
    declared: list[Subscription] = settings.MESSAGING_SUBSCRIPTIONS
    return declared


def key_links() -> list[KeyLink]:
    declared: list[KeyLink] = settings.MESSAGING_KEY_LINKS
    return declared


def subscription(consumer: str) -> Subscription:
    """Raises KeyError when no such consumer is declared."""
    return {declared.consumer: declared for declared in subscriptions()}[consumer]
