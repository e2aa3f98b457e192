"""What a benchmark answers, and how it is shown."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: `ratio` is ours against the other, `goal` what it should reach."""

    what: str
    ours: str
    other: str
    ratio: str
    goal: str = ""


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    head = ["| what | ours | compared with | ratio | goal |", "|---|---|---|---|---|"]
    return "\n".join([*head, *(f"| {r.what} | {r.ours} | {r.other} | {r.ratio} | {r.goal} |" for r in rows)])


def rate(count: float, seconds: float) -> float:
    return count / seconds


def per_second(value: float) -> str:
    return f"{value:,.0f}/s"
