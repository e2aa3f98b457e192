"""Faults of the brokers' processes."""

import json
from collections.abc import Sequence

from confluent_kafka import KafkaException

from devservices import BROKERS
from devservices.waiting import wait_until
from faults.fault import Fault, pausing, stopping
from faults.kafka_admin import all_in_sync, set_topic
from faults.losses import TOPICS
from faults.system import FaultRefused, System

TOPIC = "orders.events"
MIN_ISR_UNMET = "kafka-min-isr-unmet"
IN_SYNC_SECONDS = 90.0  # a broker starts, and copies what it lacks


def some_leader(system: System) -> tuple[str, str]:
    """The role of the broker that leads a partition chosen at random, and the reason in words."""
    leaders = system.leaders(TOPIC)
    if not leaders:
        return system.random.choice(BROKERS), f"any broker, for nobody tells who leads {TOPIC}"
    partition = system.random.choice(sorted(leaders))
    return leaders[partition], f"the leader of {TOPIC}[{partition}]"


def active_controller(system: System) -> str:
    """The role of the controller that leads the metadata quorum, as the brokers' own disks know it.

    No client is told: in KRaft a broker names any broker as the controller.
    """
    newest, role = -1, BROKERS[0]
    for one in BROKERS:
        path = system.stack.folder / one / "data" / "__cluster_metadata-0" / "quorum-state"
        state = json.loads(path.read_text())
        if state["leaderId"] > 0 and state["leaderEpoch"] > newest:
            newest, role = state["leaderEpoch"], BROKERS[state["leaderId"] - 1]
    return role


def _kill_leader(system: System) -> str:
    role, why = some_leader(system)
    return f"{system.kill(role)}, {why}"


def _kill_controller(system: System) -> str:
    return f"{system.kill(active_controller(system))}, the active controller"


def _kill_all(system: System) -> str:
    # Frozen first, so that none of them sees another one die.
    for role in BROKERS:
        system.pause(role)
    return "; ".join(system.kill(role) for role in BROKERS)


def _leader(system: System) -> tuple[Sequence[str], str]:
    role, why = some_leader(system)
    return [role], f", {why}"


def _follower(system: System) -> tuple[Sequence[str], str]:
    leader, why = some_leader(system)
    return [system.random.choice([role for role in BROKERS if role != leader])], f", which follows {why}"


def _controller(system: System) -> tuple[Sequence[str], str]:
    return [active_controller(system)], ", the active controller"


def _two(system: System) -> tuple[Sequence[str], str]:
    return system.random.sample(BROKERS, 2), ""


def _ask_for_all_replicas(system: System) -> str:
    """One replica more than there is must be in sync, while most of the controllers live: two brokers down would end
    the controllers' quorum too, and with it every change of the in-sync replicas."""
    if not _comes_in_sync(system):
        raise FaultRefused(
            "a replica is out of sync: min.insync.replicas is changed only in sync (docs/limits.md). "
            "Start the brokers that are down, and inject it again."
        )
    (role,), why = _follower(system)
    system.remember(MIN_ISR_UNMET, [role])
    for topic in TOPICS:
        set_topic(system.admin(), topic, {"min.insync.replicas": str(len(BROKERS))})
    return system.stop(role) + why


def _ask_for_two_again(system: System) -> None:
    """With every replica in sync: changed before, Kafka 4.3.1 forgets who else may lead, and may not survive that the
    topic is deleted later (docs/limits.md). Raises TimeoutError."""
    for role in system.take_hurt_by(MIN_ISR_UNMET):
        system.start(role)
        if not _comes_in_sync(system):
            raise TimeoutError(f"{role} was started and is not in sync; min.insync.replicas is still {len(BROKERS)}")
        for topic in TOPICS:
            set_topic(system.admin(), topic, {"min.insync.replicas": "2"})


def _comes_in_sync(system: System) -> bool:
    """Whether every replica is in sync, or soon is."""

    def whole() -> bool:
        try:
            return all_in_sync(system.admin())
        except KafkaException:
            return False

    return wait_until(whole, seconds=IN_SYNC_SECONDS)


_BACK = "the supervisor starts it again"
FAULTS = [
    Fault("kafka-kill-leader", "SIGKILL to the leader of a partition.", _BACK, _kill_leader),
    Fault(
        "kafka-hard-bounce",
        "SIGKILL to the leader of a partition, and to the next one, every 10 seconds.",
        _BACK,
        _kill_leader,
        seconds=50,
        every=10,
    ),
    pausing(
        "kafka-pause-leader",
        "SIGSTOP to the leader of a partition.",
        "SIGCONT: it finds that another one leads",
        _leader,
    ),
    pausing(
        "kafka-pause-follower",
        "SIGSTOP to a follower of a partition.",
        "SIGCONT: it catches up",
        _follower,
        seconds=40,
    ),
    Fault("kafka-kill-controller", "SIGKILL to the active controller.", _BACK, _kill_controller),
    pausing(
        "kafka-pause-controller",
        "SIGSTOP to the active controller.",
        "SIGCONT: it finds that another one is active",
        _controller,
    ),
    stopping(
        "kafka-two-down",
        "Two of the three brokers are killed and stay down: fewer in-sync replicas than min.insync.replicas.",
        "both are started",
        _two,
    ),
    Fault(
        MIN_ISR_UNMET,
        "A follower is killed and stays down while min.insync.replicas is 3: the leader refuses what is written.",
        "the follower is started, and when it is in sync min.insync.replicas is 2 again",
        _ask_for_all_replicas,
        _ask_for_two_again,
        seconds=60,
    ),
    Fault("kafka-kill-all", "SIGKILL to all three brokers at once.", "the supervisor starts them again", _kill_all),
]
