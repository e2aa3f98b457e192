"""What an examination found: one thing that can lose a message, its risk and its mend."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """UNSAFE loses messages by configuration; DEGRADED loses nothing, and relay and consumers may start."""

    UNSAFE = "unsafe"
    DEGRADED = "degraded"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, what it risks, and the command that mends it."""

    id: str
    subject: str
    found: str
    risk: str
    mend: str
    severity: Severity = Severity.UNSAFE
