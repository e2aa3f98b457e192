"""How values look: ages, states, JSON, bytes. All text is escaped; what is long is cut with a note."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

NONE = "—"
MAX_TEXT = 64 * 1024
MAX_HEX_BYTES = 2 * 1024
_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def duration(length: timedelta) -> str:
    """The two largest units: `3 h 20 min`, `12 s`. Below a second: `15 ms`."""
    seconds = length.total_seconds()
    if seconds <= -1:
        return f"-{duration(-length)}"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    rest = int(seconds)
    parts: list[tuple[int, str]] = []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count or parts:
            parts.append((count, unit))
    return " ".join(f"{count} {unit}" for count, unit in parts[:2] if count)


def age(moment: datetime) -> str:
    return duration(max(timezone.now() - moment, timedelta()))


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03} UTC"


def two_lines(above: object, below: object) -> SafeString:
    """What a row is, and below it in small what it belongs to: narrow enough for a list of several columns."""
    return format_html('{}<span class="zl-mono zl-below">{}</span>', above, below)


def badge(state: str) -> SafeString:
    return format_html('<span class="zl-state zl-{}">{}</span>', state.replace(" ", "-"), state)


def mono(text: object) -> SafeString:
    return format_html('<span class="zl-mono">{}</span>', text)


def linked(links: Iterable[tuple[str, str]]) -> SafeString:
    """Links side by side: (label, address)."""
    return render_to_string("admin/messaging/links.html", {"links": list(links)})


def headers_table(headers: Iterable[tuple[str, str]]) -> SafeString:
    return render_to_string("admin/messaging/headers.html", {"headers": list(headers)})


def json_block(payload: str) -> SafeString:
    """JSON, formatted to be read; below it the text as it travels."""
    pretty = pretty_json(payload)
    return render_to_string(
        "admin/messaging/payload.html",
        {
            "pretty": _cut(pretty) if pretty is not None else None,
            "raw": _cut(payload),
            "size": len(payload.encode(errors="replace")),
            "cut": len(payload) > MAX_TEXT or len(pretty or "") > MAX_TEXT,
            "limit": MAX_TEXT,
        },
    )


def pretty_json(payload: str) -> str | None:
    """The indented text, hardly longer than MAX_TEXT; None when it is not JSON."""
    pieces, length = [], 0
    try:
        # Piece by piece: 256 KiB of brackets would be indented to hundreds of megabytes.
        for piece in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(json.loads(payload)):
            pieces.append(piece)
            length += len(piece)
            if length > MAX_TEXT:
                break
    except (ValueError, RecursionError):
        return None
    # JSON can escape half a surrogate pair, which no page can be encoded with.
    return "".join(pieces).encode(errors="backslashreplace").decode()


def bytes_block(value: bytes | memoryview | None) -> SafeString:
    """Bytes as text where they are text, and as a hex dump."""
    if value is None:
        return format_html('<span class="quiet">{}</span>', "null: the record has none")
    raw = bytes(value)
    return render_to_string(
        "admin/messaging/bytes.html",
        {
            "size": len(raw),
            "text": _text(raw),
            "text_cut": len(raw) > MAX_TEXT,
            "text_limit": MAX_TEXT,
            "hex": _hex_dump(raw[:MAX_HEX_BYTES]),
            "hex_cut": len(raw) > MAX_HEX_BYTES,
            "hex_limit": MAX_HEX_BYTES,
        },
    )


def header_values(pairs: Iterable[tuple[str, str | None]]) -> list[tuple[str, str]]:
    """A stored record's headers, from hexadecimal to text."""
    return [
        (name, "(null)" if value is None else visible(bytes.fromhex(value).decode(errors="backslashreplace")))
        for name, value in pairs
    ]


def visible(text: str) -> str:
    """Control characters and direction marks written out, so that none can disguise the text."""
    return "".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text)


def in_short(error: str) -> str:
    """An error without its traceback: how it begins, and its last line."""
    lines = error.strip().splitlines() or [""]
    first = lines[0].removesuffix("Traceback (most recent call last):").strip()
    return first if len(lines) == 1 else f"{first} {lines[-1]}"


def _text(raw: bytes) -> str | None:
    try:
        return visible(_cut(raw.decode()))
    except UnicodeDecodeError:
        return None


def _hex_dump(raw: bytes) -> str:
    rows = []
    for start in range(0, len(raw), 16):
        row = raw[start : start + 16]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        rows.append(f"{start:06x}  {row.hex(' '):<47}  {letters}")
    return "\n".join(rows)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + " …"
