"""Free TCP ports on the loopback interface."""

import random
import socket
from collections.abc import Collection

LOOPBACK = "127.0.0.1"
# Below the range from which Linux and macOS serve outgoing connections: otherwise a client could
# be given a server's port in the moment in which that server restarts.
_RANGE = range(15_000, 32_000)


def free_port(taken: Collection[int] = ()) -> int:
    """A port that nobody listens on and that is not one of `taken`."""
    while True:
        port = random.choice(_RANGE)  # noqa: S311 - spread, not secret
        if port not in taken and is_free(port):
            return port


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket() as probe:
        if probe.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as probe:
        # As servers do: connections that linger in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
