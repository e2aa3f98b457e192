"""Break it: crash points, faults of the servers, what Kafka itself loses, and a checker from outside.

The product knows nothing of this package. `FAULT` arms it in a process whose settings are `faults.settings`.

- `points` names every seam of the product where a process may die; `windows` says what saves the message there.
- `arm` wraps those seams in a running process, as `FAULT` or a file says.
- `brokers`, `database`, `redis_and_beat`, `programs` and `network` (through `proxy`) kill, pause and cut off;
  `servers` lists them.
- `losses` makes Kafka lose what it acknowledged.
- `checker` looks at database and log from outside and says which of I1 to I12 does not hold.
- `chaos` puts it all together: load, random faults by a seed, heal, drain, check, report.
"""
