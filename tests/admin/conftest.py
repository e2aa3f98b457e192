"""Who looks at the pages, and rows to look at."""

from collections.abc import Callable
from uuid import UUID

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from messaging.models import DeadLetter
from tests.admin.scene import wanting_stock

Login = Callable[..., Client]


@pytest.fixture
def login(db: None) -> Login:
    """Log somebody in who may look at everything, and do what the test names."""

    def as_staff(*permissions: str, name: str = "olga") -> Client:
        user = User.objects.create_user(name, is_staff=True)
        user.user_permissions.set(
            [
                *Permission.objects.filter(codename__startswith="view_"),
                *Permission.objects.filter(codename__in=permissions),
            ]
        )
        client = Client()
        client.force_login(user)
        return client

    return as_staff


@pytest.fixture
def superuser(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def order_id() -> UUID:
    return UUID("0190a000-0000-7000-8000-000000000001")


@pytest.fixture
def mended(db: None, order_id: UUID) -> DeadLetter:
    """A dead letter whose cause is gone: the next replay succeeds."""
    return wanting_stock(order_id, quantity=3)
