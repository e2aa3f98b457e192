"""The audit's answer."""

from dataclasses import asdict, dataclass, field
from typing import Any

from messaging.prove.losses import Loss

MOST_SHOWN = 50  # ids of a kind, to people and in the log: what retention took is named, too, and there may be millions


@dataclass(slots=True)
class DomainBooks:
    """What the domain says of itself: its counts, and the ids that do not add up."""

    counts: dict[str, int]
    lost: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    stock_mismatches: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """The audit's answer. Lists hold ids; the counts of the domain stand beside the mechanism's.

    `after_id` is the outbox id after which this audit began: what came before was confirmed by an
    earlier one, and is in none of the counts of messages and orders. 0 where everything was compared.
    `in_log`, `gone_from_log` and `unknown_in_log` are None where the log was not read. In this order: receipts that it
    confirms; receipts whose record it no longer holds, but whose message every subscriber has taken; records whose id
    the outbox does not know, or that name none. The last two are no failures: what had an effect without a reason is
    also among the `extra`.
    `parked` counts what was set aside in both places: refused by Kafka for good, or early at its consumer.
    `stuck` are the orders that are not final; while orders flow that is normal.
    `losses` are those of the `lost` that Kafka lost, and that `repair` can put back.
    """

    after_id: int
    domain: dict[str, int]
    written: int
    acknowledged: int
    in_log: int | None
    gone_from_log: list[str] | None
    unknown_in_log: list[str] | None
    applied: int
    redelivered: int
    repaired: int
    pending: int
    parked: int
    dead_letters: int
    lost: list[str]
    extra: list[str]
    stuck: list[str]
    stock_mismatches: list[str]
    losses: list[Loss]

    @property
    def adds_up(self) -> bool:
        return not (self.lost or self.extra or self.stock_mismatches)

    def as_json(self, *, most_ids: int | None = None) -> dict[str, Any]:
        """Counts under the names of the report; under `ids` those that are wrong or wait, under `log_ids` those that
        the log has let go, or has and nobody wrote: all of them, or the first `most_ids` of each."""
        fields = asdict(self)
        domain = fields.pop("domain")
        del fields["losses"]  # they are among the lost
        counts = {name: len(value) if isinstance(value, list) else value for name, value in fields.items()}
        lists = {name: value[:most_ids] for name, value in fields.items() if isinstance(value, list)}
        log_ids = {name: lists.pop(name) for name in ("gone_from_log", "unknown_in_log") if name in lists}
        return {**domain, **counts, "ids": lists, "log_ids": log_ids}
