"""At-least-once delivery with exactly-once effect, between PostgreSQL and Kafka.

One package per pillar:

- `produce`: `outbox.append` writes a message in the caller's transaction; the relay publishes it to
  Kafka and settles it after the broker's delivery report.
- `store`: the Kafka settings that do not lose data, the topics, and the doctor that checks both live.
- `consume`: the consumer commits the effect, the inbox row and the reply together, then the offset.
- `prove`: the audit compares outbox, receipts, Kafka, inbox and ledger.

This package knows nothing of orders or stock: `orders` and `inventory` give it payloads and handlers.
"""
