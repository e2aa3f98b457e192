"""Pillar 3: a message that Kafka holds has its effect once.

- `reader` speaks to Kafka: no auto commit; it hands over batches, is told which are handled, and commits their offsets
  when that is due.
- `delivery` is a message with the record that brought it.
- `blind` says whether the reader's client has stopped reading without a word.
- `batch` applies a batch in one transaction: inbox, order of keys, handler.
- `inbox` remembers which messages were taken, so that a redelivery has no effect.
- `key_order` lets each stream's messages through as 1, 2, 3 … and parks those that come early.
- `dead_letters` keeps what can never be handled, as bytes (`raw`); `replay` gives it an operator's second chance.
- `blame` says whether the message is at fault or the infrastructure.
- `consumer` ties them together: database commit first, offsets after.
"""
