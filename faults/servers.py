"""Every fault by its name, and the way back."""

from devservices import SERVER_ROLES
from faults import brokers, database, losses, network, offsets, programs, redis_and_beat
from faults.fault import Fault
from faults.system import System

_ROOMS = (brokers, database, redis_and_beat, programs, network, losses, offsets)
FAULTS: dict[str, Fault] = {fault.name: fault for room in _ROOMS for fault in room.FAULTS}


def heal_all(system: System) -> None:
    """Heal every fault, start and resume every server and program, and wait until the servers answer.

    Raises DevservicesError when one does not. What a fault has added is ended, and stays so.
    """
    for fault in FAULTS.values():
        fault.heal(system)
    for role in [*SERVER_ROLES, *(program.role for program in system.programs)]:
        system.start(role)
        system.resume(role)
    for proxy in system.proxies.values():
        proxy.restore()
    for role in SERVER_ROLES:
        system.stack.wait_ready(role)
