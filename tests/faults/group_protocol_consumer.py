"""The tests' settings, with consumers that speak the newer group protocol (KIP-848).

The product speaks the classic one. Its settings are changed here, in a process of the tests, before they are read.
"""

from typing import Any

from messaging.store import kafka
from tests.settings import *  # noqa: F403

_classic_settings = kafka.consumer_settings
# The brokers decide these in the newer protocol; a client that names them is refused.
_DECIDED_BY_BROKERS = ("partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms")


def consumer_settings(group: str) -> dict[str, Any]:
    settings = {name: value for name, value in _classic_settings(group).items() if name not in _DECIDED_BY_BROKERS}
    return settings | {"group.protocol": "consumer"}


kafka.consumer_settings = consumer_settings
