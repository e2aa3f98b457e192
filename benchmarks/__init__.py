"""Ratios, each measured side by side in one run: absolute figures move with the machine.

- `place_order`: the service against pgbench with the same SQL.
- `relay`: the drain of a backlog, against a naive relay and against the bare producer.
- `consumer`: batches against one ORM transaction an event.
- `latency`: from the POST's answer to the committed stock, with the whole system running.
- `audit`: of what is new, after a short and after a long history.

Run all with `make bench`, or some with `make bench ONLY="relay consumer"`.
"""
