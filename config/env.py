"""Read one setting from the environment, or stop the start with a sentence that says how to mend it."""

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")

# Also from a file: where SECRET_KEY_FILE names one, its content is SECRET_KEY. Likewise for every other setting.
env = environ.FileAwareEnv()


def required(name: str, *, example: str, parse: Callable[[str], T]) -> T:
    """The value of a setting that has no default.

    Raises ImproperlyConfigured naming the setting, what is wrong with it and an example that works.
    """
    text = env.str(name, default="")
    if not text:
        raise ImproperlyConfigured(
            f"the setting {name} is missing. Set it in the environment or in .env, "
            f"for example {name}={example} (.env.example documents every setting)."
        )
    try:
        return parse(text)
    except ValueError as error:
        raise ImproperlyConfigured(
            f"the setting {name} is wrong: {error}. An example that works: {name}={example}"
        ) from error


def url_of(*schemes: str) -> Callable[[str], str]:
    """A parser that accepts a URL of one of these schemes with a host."""

    def parse(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"it must be a URL that starts with {' or '.join(schemes)}:// and has a host")
        return text

    return parse


def host_list(text: str) -> str:
    """Accept `host:port,host:port`, as Kafka's bootstrap.servers wants it."""
    for entry in text.split(","):
        host, _, port = entry.strip().rpartition(":")
        if not host or not port.isdigit():
            raise ValueError(f"{entry.strip()!r} is not host:port")
    return ",".join(entry.strip() for entry in text.split(","))


def word_list(text: str) -> list[str]:
    """Accept words separated by commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def secret(text: str) -> str:
    """Accept a secret long enough to be one."""
    if len(text) < 50:
        raise ValueError("a secret key needs at least 50 characters")
    return text
