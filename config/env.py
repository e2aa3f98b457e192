"""Read one setting from the environment, or stop the start with a sentence that says how to mend it."""

import ipaddress
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured
from environ.fileaware_mapping import FileAwareMapping

T = TypeVar("T")

MAX_PORT = 65_535


class _Files(FileAwareMapping):  # type: ignore[misc]  # django-environ has no types
    """A file that cannot be read stops the start with a sentence too. A setting itself goes before its file: what
    `make demo` and `make test` set for their own servers must count, whatever file the shell or .env names."""

    def __getitem__(self, name: str) -> str:
        if own := self.env.get(name):
            return str(own)
        try:
            value: str = super().__getitem__(name).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ImproperlyConfigured(
                f"the setting {name} cannot be read from its file: {error}. Let {name}_FILE={self.env[f'{name}_FILE']} "
                f"name a text file that this user may read, or set {name} itself and {name}_FILE not."
            ) from error
        return value


class _Env(environ.FileAwareEnv):  # type: ignore[misc]
    ENVIRON = _Files()


# Also from a file: where SECRET_KEY_FILE names one, its content is SECRET_KEY. Likewise for every other setting.
env = _Env()


def required(name: str, *, example: str, parse: Callable[[str], T]) -> T:
    """The value of a setting that has no default.

    Raises ImproperlyConfigured naming the setting, what is wrong with it and an example that works.
    """
    text = env.str(name, default="")
    if not text:
        raise ImproperlyConfigured(
            f"the setting {name} is missing. Set it in the environment or in .env, "
            f"for example {name}={example} (.env.example documents every setting). "
            'The settings of what `make up` runs: eval "$(make -s env)".'
        )
    return _parsed(name, text, example, parse)


def optional(name: str, *, default: T, example: str, parse: Callable[[str], T]) -> T:
    """The value of a setting, or its default where it is missing or empty.

    One that is there and wrong raises ImproperlyConfigured: a misspelt HTTPS_ONLY=ture must not mean false.
    """
    text = env.str(name, default="")
    return _parsed(name, text, example, parse) if text else default


def _parsed(name: str, text: str, example: str, parse: Callable[[str], T]) -> T:
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
        _ = parts.port  # raises ValueError where it is no number
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(
                f"it must be a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)} and has a host"
            )
        return text

    return parse


def database_url(text: str) -> dict[str, Any]:
    """Accept PostgreSQL's URL, and return it as Django's DATABASES wants it; what stands after ? is for libpq."""
    parts = urlsplit(url_of("postgres", "postgresql")(text))
    if not parts.path.strip("/"):
        raise ValueError("it names no database after the host")
    found: dict[str, Any] = env.db_url_config(text)
    return found


def host_list(text: str) -> str:
    """Accept `host:port,host:port`, as Kafka's bootstrap.servers wants it."""
    for entry in text.split(","):
        host, _, port = entry.strip().rpartition(":")
        if not host or not (port.isascii() and port.isdigit()) or not 1 <= int(port) <= MAX_PORT:
            raise ValueError(f"{entry.strip()!r} is not host:port")
    return ",".join(entry.strip() for entry in text.split(","))


def list_of(parse: Callable[[str], T]) -> Callable[[str], list[T]]:
    """A parser that accepts one or more of these, separated by commas."""

    def parse_all(text: str) -> list[T]:
        found = [parse(word.strip()) for word in text.split(",") if word.strip()]
        if not found:
            raise ValueError(f"{text!r} names nothing")
        return found

    return parse_all


def secret(text: str) -> str:
    """Accept a secret long enough to be one."""
    if len(text) < 50:
        raise ValueError("a secret key needs at least 50 characters")
    return text


def origin(text: str) -> str:
    """Accept scheme://host, as a browser sends it in `Origin`."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path:
        raise ValueError(f"{text!r} is not https://host")
    return text


def network(text: str) -> str:
    """Accept an IP address, a network like 10.0.0.0/8, or * for every address."""
    return text if text == "*" else str(ipaddress.ip_network(text))


def bind_address(text: str) -> str:
    """Accept host:port, unix:path or fd://number, as gunicorn's `bind` does."""
    return text if text.startswith(("unix:", "fd://")) else host_list(text)


def true_or_false(text: str) -> bool:
    """Accept true or false, in any capitals."""
    if text.strip().lower() not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text.strip().lower() == "true"


def count(text: str) -> int:
    """Accept a whole number from 1."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ValueError(f"{text!r} is not a whole number from 1")
    return int(text)


def seconds(text: str) -> float:
    """Accept a number of seconds above 0."""
    found = float(text)
    if not 0 < found < float("inf"):
        raise ValueError(f"{text!r} is not a number of seconds above 0")
    return found


def one_of(*words: str) -> Callable[[str], str]:
    """A parser that accepts one of these words."""

    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(words)}")
        return text

    return parse
