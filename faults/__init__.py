"""Break it: faults of servers, networks and processes, injected from outside into a running stack.

A `Proxy` stands between a client and a server and spoils what passes. A `Fault` does one thing to a
`System` and knows how to undo it. `python -m faults list` names them all. The product knows nothing of this.
"""
