"""A message together with the record that brought it."""

from dataclasses import dataclass

from messaging.envelope import Envelope, Record


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record that could be read: what to handle, and the bytes to keep if it must wait."""

    envelope: Envelope
    record: Record
