"""Pillar 1: a message that was written reaches Kafka.

- `outbox.append` writes the message in the transaction of the business row.
- `queue` fetches what is pending and settles what Kafka acknowledged.
- `publisher` speaks to Kafka: acks=all, idempotent, one delivery report per message.
- `weight` is the room that a message takes in the relay, for large ones must not fill its memory.
- `shards` parts the queue so that no two partitions share a shard.
- `lease` lets one relay at a time work a shard.
- `relay` ties them together: a round, and a shift of rounds.
"""
