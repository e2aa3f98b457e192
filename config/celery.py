"""Celery's application. A task here is a wake-up call: losing, doubling or delaying one is harmless.

Start with `celery -A config worker` and one `celery -A config beat`.
"""

import gc
import os
import sys

from celery import Celery, signals
from celery.loaders.app import AppLoader
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from config.beat import LONG_AGO

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# A tick that waited longer than this is dropped, so that an outage of the workers leaves no endless pile. Beat's clock
# sets the time and the worker's judges it, so it must be longer than the two can differ: with 5 s and a beat an hour
# behind, every tick has expired before it comes, and no relay ever runs. Ticks are taken at once all the same, where a
# second thread is free while the first one works the shift: they find the shards taken and end.
TICK_EXPIRES_SECONDS = 2 * 60 * 60.0


def every(seconds: float, task: str, **kwargs: object) -> dict[str, object]:
    """An entry of beat's schedule: due as soon as beat starts, and then again and again."""
    return {
        "task": task,
        "schedule": seconds,
        "kwargs": kwargs,
        "options": {"expires": TICK_EXPIRES_SECONDS},
        "last_run_at": LONG_AGO,
    }


class Loader(AppLoader):  # type: ignore[misc]  # Celery has no types
    """Says in one sentence which setting is wrong. All programs but `celery` have read the settings before."""

    def config_from_object(self, source: object, silent: bool = False) -> object:
        try:
            return super().config_from_object(source, silent=silent)
        except ImproperlyConfigured as error:
            sys.exit(f"celery: {error}")


app = Celery("zero-loss", loader="config.celery:Loader")
app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    # No fork, and a thread for each task there is (relay, audit, audit of everything, prune): none waits for another.
    worker_pool="threads",
    worker_concurrency=4,
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    timezone="UTC",
    enable_utc=True,
    # Redis may be away for an hour: wait for it for ever, at start and later.
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={
        "visibility_timeout": 600,
        "socket_keepalive": True,
        # A Redis that vanished without a word must not hold a task's hand-over for the kernel's quarter of an hour.
        "socket_timeout": 15,
        "socket_connect_timeout": 5,
    },
    worker_cancel_long_running_tasks_on_connection_loss=False,
    beat_scheduler="config.beat:Scheduler",
    beat_schedule={
        "relay": every(1.0, "messaging.tasks.relay"),
        # What Kafka lost is noticed and put back within this time. Its cost does not grow with the history.
        "audit": every(15.0, "messaging.tasks.audit"),
        # Reads all history: for what the other takes on trust because it was confirmed before.
        "audit everything": every(3600.0, "messaging.tasks.audit", everything=True),
        "prune": every(3600.0, "messaging.tasks.prune"),
    },
)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.worker_init.connect  # type: ignore[untyped-decorator]  # Celery has no types
def refuse_what_check_refuses(**_: object) -> None:
    """What `manage.py` does before each command; Celery asks too, and goes on whatever the answer."""
    serious = [str(found) for found in checks.run_checks() if found.is_serious()]
    if serious:
        sys.exit("celery: " + "\n".join(serious))


@signals.worker_ready.connect  # type: ignore[untyped-decorator]  # Celery has no types
def keep_what_was_imported(**_: object) -> None:
    """The collector need not search it again and again: with a backlog that was a fourth of the relay's time."""
    gc.freeze()


@signals.worker_shutting_down.connect  # type: ignore[untyped-decorator]  # Celery has no types
def end_the_shift(**_: object) -> None:
    """On SIGTERM the relay's shift ends now, rather than when its time is up."""
    from messaging.tasks import stopping  # noqa: PLC0415  (after Django is set up)

    stopping.set()


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def keep_our_logging(**_: object) -> None:
    """Celery must not replace the logging that the settings configured."""
