"""gunicorn's settings, read from this file's folder: `gunicorn config.wsgi`."""

import importlib
import os
import sys
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from config.env import bind_address, count, env, list_of, network, optional, seconds
from config.logs import log_as_told
from config.web import DeadlineWorker, Logger

env.read_env(Path(__file__).resolve().parent / ".env")

try:
    bind = optional("WEB_BIND", default="127.0.0.1:8000", example="127.0.0.1:8000", parse=bind_address)
    # Whose X-Forwarded-Proto is believed. Behind any other proxy, HTTPS_ONLY would redirect each request for ever.
    forwarded_allow_ips = ",".join(
        optional("FORWARDED_ALLOW_IPS", default=["127.0.0.1", "::1"], example="10.0.0.0/8", parse=list_of(network))
    )
    workers = optional("WEB_WORKERS", default=2, example="2", parse=count)
    DeadlineWorker.request_seconds = optional("WEB_REQUEST_SECONDS", default=10.0, example="10", parse=seconds)
    loglevel = log_as_told().lower()
except ImproperlyConfigured as error:
    sys.exit(f"gunicorn: {error}")
threads = 4
# An order is a few rows: PostgreSQL may plan its statements once a connection. See config/settings.py.
raw_env = ["PLAN_CACHE_MODE=auto"]
worker_class = DeadlineWorker
logger_class = Logger
# Heartbeats in memory: the root file system may be read-only.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108
control_socket_disable = True
graceful_timeout = 20


def on_starting(_: object) -> None:
    """A wrong setting is named here, once: over two workers that both end of it, gunicorn prints a traceback."""
    try:
        importlib.import_module("config.settings")
    except ImproperlyConfigured as error:
        sys.exit(f"gunicorn: {error}")
    # Each worker reads them for itself, also after a reload.
    del sys.modules["config.settings"]
