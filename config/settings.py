"""Django's settings. Every value that differs between places comes from the environment (.env.example)."""

from pathlib import Path
from typing import Any

from config import registry
from config.env import (
    count,
    database_url,
    env,
    host_list,
    list_of,
    one_of,
    optional,
    origin,
    required,
    seconds,
    secret,
    true_or_false,
    url_of,
)
from config.logs import log_as_told

BASE_DIR = Path(__file__).resolve().parent.parent
if (BASE_DIR / ".env").exists():
    env.read_env(BASE_DIR / ".env")

# --- Django ------------------------------------------------------------------------------------
SECRET_KEY = required("SECRET_KEY", example="<50 random characters>", parse=secret)
SECRET_KEY_FALLBACKS: list[str] = optional(
    "SECRET_KEY_FALLBACKS", default=[], example="<a former SECRET_KEY>", parse=list_of(secret)
)
DEBUG = optional("DEBUG", default=False, example="false", parse=true_or_false)
ALLOWED_HOSTS = required("ALLOWED_HOSTS", example="shop.example.com,127.0.0.1", parse=list_of(str))
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "ninja",
    "messaging",
    "orders",
    "inventory",
]
MIDDLEWARE = [
    "config.problems.ProblemsBelowApi",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.middleware.RequestContext",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
# Serve straight from the installed packages: no collectstatic step to forget.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = 64 * 1024
LOGGING_CONFIG = None
log_as_told()

# --- HTTPS: on unless told otherwise; the local demo serves plain HTTP on loopback -----------------
HTTPS_ONLY = optional("HTTPS_ONLY", default=True, example="true", parse=true_or_false)
SECURE_SSL_REDIRECT = HTTPS_ONLY
SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$"]
SESSION_COOKIE_SECURE = HTTPS_ONLY
CSRF_COOKIE_SECURE = HTTPS_ONLY
CSRF_TRUSTED_ORIGINS: list[str] = optional(
    "CSRF_TRUSTED_ORIGINS", default=[], example="https://shop.example.com", parse=list_of(origin)
)
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS_ONLY else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS_ONLY
SECURE_HSTS_PRELOAD = HTTPS_ONLY
SESSION_COOKIE_AGE = 8 * 60 * 60
X_FRAME_OPTIONS = "DENY"

# --- PostgreSQL ------------------------------------------------------------------------------------
_database = required("DATABASE_URL", example="postgres://shop:…@127.0.0.1:5432/shop", parse=database_url)
_url_options = _database.pop("OPTIONS", {})
# force_custom_plan: plan prepared statements anew at each call. PostgreSQL's cached generic plan assumes 10 elements
# for any array parameter; with batches of 500 the consumer was ten times slower. gunicorn.conf.py sets auto for web,
# whose arrays are short.
PLAN_CACHE_MODE = optional(
    "PLAN_CACHE_MODE", default="force_custom_plan", example="auto", parse=one_of("auto", "force_custom_plan")
)
DATABASES = {
    "default": {
        **_database,
        "ATOMIC_REQUESTS": False,  # each service opens the transaction that it needs
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "connect_timeout": 5,
            # PostgreSQL parses each statement once a connection instead of at each call. Behind a pooler
            # that does not carry prepared statements, set the threshold to None.
            "server_side_binding": True,
            "prepare_threshold": 5,
            "application_name": env.str("ROLE", default="manage"),
            "tcp_user_timeout": 15_000,
            "keepalives_idle": 10,
            # What the URL says goes before, so that `?sslmode=verify-full` counts.
            **_url_options,
            # A process that hangs inside a transaction must not hold its locks for ever.
            "options": "-c idle_in_transaction_session_timeout=60s -c lock_timeout=10s -c statement_timeout=60s "
            f"-c plan_cache_mode={PLAN_CACHE_MODE} {_url_options.get('options', '')}",
        },
    }
}

# --- Messaging: who reads what stands in config/registry.py ------------------------------------------
MESSAGING_TOPICS = registry.TOPICS
MESSAGING_SUBSCRIPTIONS = registry.SUBSCRIPTIONS
MESSAGING_MESSAGES = registry.MESSAGES
MESSAGING_BOOKS = registry.BOOKS
MESSAGING_KEY_LINKS = registry.KEY_LINKS

# --- Kafka: the safe settings themselves stand in messaging/store/kafka.py -------------------------
KAFKA_BOOTSTRAP_SERVERS = required(
    "KAFKA_BOOTSTRAP_SERVERS", example="kafka1:9092,kafka2:9092,kafka3:9092", parse=host_list
)

# --- Celery: wakes the relay up, and carries no data -------------------------------------------------
CELERY_BROKER_URL = required("CELERY_BROKER_URL", example="redis://127.0.0.1:6379/0", parse=url_of("redis", "rediss"))
# True lets relay and consumers start where `manage.py doctor` finds that messages can be lost.
ALLOW_UNSAFE_CLUSTER = optional("ALLOW_UNSAFE_CLUSTER", default=False, example="false", parse=true_or_false)
# How long a relay works before its leases are free for any other.
RELAY_SHIFT_SECONDS = optional("RELAY_SHIFT_SECONDS", default=10.0, example="10", parse=seconds)

# --- Retention: how long what is done with is kept (`manage.py prune`) ---------------------------------------
OUTBOX_RETENTION_DAYS = optional("OUTBOX_RETENTION_DAYS", default=30, example="30", parse=count)
# Longer than any topic keeps a record: what can still be delivered must still be known. `check` compares.
INBOX_RETENTION_DAYS = optional("INBOX_RETENTION_DAYS", default=60, example="60", parse=count)
# Whether the audit that beat starts also puts back what Kafka lost; otherwise it only reports it.
AUDIT_REPAIRS = optional("AUDIT_REPAIRS", default=True, example="true", parse=true_or_false)
