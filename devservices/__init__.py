"""Real PostgreSQL, a real three-broker Kafka and real Redis protocol on one machine.

Two abstractions: a `Program` is a command under a role, a `Stack` is a folder in which programs
run under one supervisor. The three servers are programs that a stack brings by itself.
Nothing in the product imports this package.
"""

from devservices.errors import DevservicesError
from devservices.program import Process, Program
from devservices.servers import SERVER_ROLES
from devservices.stack import Stack
from devservices.state import BROKERS

__all__ = ["BROKERS", "SERVER_ROLES", "DevservicesError", "Process", "Program", "Stack"]
