"""Make what a fresh database and cluster lack. Running it again changes nothing."""

import hashlib
from io import StringIO

from django.contrib.auth import get_user_model
from django.core.management import call_command

from orders.models import ApiClient

ADMIN_NAME = "admin"
CLIENT_NAME = "demo"


def prepare(*, token: str, admin_password: str | None) -> None:
    """Tables, topics, stock, a client of the API with this token, and the admin's account."""
    call_command("migrate", verbosity=0)
    call_command("ensure_topics", wait=True, stdout=StringIO())
    seed(token=token, admin_password=admin_password)


def seed(*, token: str, admin_password: str | None) -> None:
    """Stock, a client of the API with this token, and the admin's account, in tables that exist."""
    call_command("seed_stock", stdout=StringIO())
    ApiClient.objects.update_or_create(
        name=CLIENT_NAME, defaults={"token_sha256": hashlib.sha256(token.encode()).hexdigest()}
    )
    if admin_password:
        users = get_user_model().objects
        if not users.filter(username=ADMIN_NAME).exists():
            users.create_superuser(ADMIN_NAME, password=admin_password)
