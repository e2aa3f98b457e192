"""From a key to everything that bears it. The addresses of other apps come by name from the settings."""

from urllib.parse import urlencode

from django.urls import reverse

from messaging.registry import KeyLink
from messaging.registry import key_links as declared_links

_OWN = (
    KeyLink("messages", "admin:messaging_outboxmessage_changelist", by_search=True),
    KeyLink("inbox rows", "admin:messaging_processedmessage_changelist", by_search=True),
    KeyLink("dead letters", "admin:messaging_deadletter_changelist", by_search=True),
)


def key_links(key: object, *, without: str = "") -> list[tuple[str, str]]:
    """(label, address) of each page about this key, but the one that is open: its label in `without`."""
    return [(link.label, _address(link, str(key))) for link in (*declared_links(), *_OWN) if link.label != without]


def search_link(url_name: str, term: object) -> str:
    """The address of a list with something in its search box."""
    return f"{reverse(url_name)}?{urlencode({'q': term})}"


def _address(link: KeyLink, key: str) -> str:
    return search_link(link.url_name, key) if link.by_search else reverse(link.url_name, args=[key])
