"""The main job with its proof: the whole system, a load, three kills, and an audit that adds up.

- `system` says which processes the application consists of, and runs them beside the servers.
- `prepare` makes the tables, the topics, the stock and the credentials.
- `load` places and cancels orders over HTTP, as clients would.
- `faults` kills processes while that goes on.
- `proof` computes what happened from the database and from Kafka's log.
- `drive` ties them together; `__main__` is the command.
"""
