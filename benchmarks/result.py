"""What a benchmark answers, and how it is shown."""

from dataclasses import dataclass

# A figure that must not grow may differ by so much: two readings of a few milliseconds do.
ABOUT = 1.5


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should be, and whether it is."""

    text: str
    reached: bool

    def __and__(self, other: "Goal") -> "Goal":
        return Goal(f"{self.text}, {other.text}", self.reached and other.reached)

    def __str__(self) -> str:
        return f"{self.text}: {'reached' if self.reached else 'missed'}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: `ratio` is ours against the other."""

    what: str
    ours: str
    other: str
    ratio: str
    goal: Goal | None = None


def at_least(goal: float, figure: float) -> Goal:
    return Goal(f"≥ {goal:g}", figure >= goal)


def at_most(goal: float, figure: float, unit: str = "") -> Goal:
    return Goal(f"≤ {goal:g} {unit}".rstrip(), figure <= goal)


def no_growth(ratio: float) -> Goal:
    """Of a cost over a long history to that over a short one. To be cheaper is no miss."""
    return Goal(f"≈ 1 (≤ {ABOUT:g})", ratio <= ABOUT)


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    head = ["| what | ours | compared with | ratio | goal |", "|---|---|---|---|---|"]
    return "\n".join([*head, *(f"| {r.what} | {r.ours} | {r.other} | {r.ratio} | {r.goal or ''} |" for r in rows)])


def per_second(value: float) -> str:
    return f"{value:,.0f}/s"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
