"""The proof: outbox, receipts, Kafka, inbox and ledger tell the same story, or the audit says where not.

- `kafka_log` reads the log and the consumers' offsets.
- `audit` compares them with the database and with the domain's own books.
"""
