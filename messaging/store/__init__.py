"""Pillar 2: what Kafka acknowledged stays in Kafka.

- `kafka` holds the client settings that do not lose data.
- `topics` provisions the topics with three replicas of which two must answer.
- `doctor` reads the live cluster and database (`kafka_checks`, `postgres_checks`) and says what could lose a
  message (`findings`); `guard` keeps relay and consumers from starting on it.
- `identity` remembers which cluster and topics these are, so that none is taken for another of its name.
- `records` turns the client's messages into ours.
"""
