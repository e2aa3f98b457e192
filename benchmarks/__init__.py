"""Ratios, each measured side by side in one run: absolute figures move with the machine.

- `place_order`: the service against pgbench with the same SQL.
- `relay`: the drain of a backlog, against a naive relay and the bare producer; its fetch with a history behind it.
- `consumer`: batches against one ORM transaction an event.
- `latency`: from the POST's answer to the committed stock, with the whole system running.
- `audit`: of what is new, after a short and after a long history.
- `admin`: its pages, with few messages and with a million.

What is compared takes turns (`turns`), and medians are shown. Each goal says whether it is reached; the exit status is
0 either way, since a machine that is busy misses some.

Run all with `make bench`, or some with `make bench ONLY="relay consumer"`.
"""
