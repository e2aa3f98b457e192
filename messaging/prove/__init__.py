"""The proof: outbox, receipts, Kafka, inbox and ledger tell the same story, or the audit says where not.

- `kafka_log` reads the log and the consumers' offsets.
- `losses` finds what Kafka acknowledged and its consumer can no longer read.
- `audit` compares everything, or with `watermark` only what is new since the last time.
- `log_comparison` holds every receipt against the log, and every record against the outbox.
- `report` is its answer.
- `repair` puts what Kafka lost back into the relay's queue.
- `retention` removes what is published and confirmed by every subscriber.
"""
