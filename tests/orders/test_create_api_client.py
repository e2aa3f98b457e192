"""`manage.py create_api_client` makes a token that works, and keeps only its hash."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from orders.models import ApiClient


def made(*arguments: str) -> str:
    """The token that the command prints."""
    printed = StringIO()
    call_command("create_api_client", *arguments, stdout=printed)
    return printed.getvalue().strip()


def status_with(token: str) -> int:
    return Client().get("/api/orders", headers={"Authorization": f"Bearer {token}"}).status_code


@pytest.mark.django_db(transaction=True)
class TestCreateApiClient:
    def test_prints_a_token_that_works(self) -> None:
        assert status_with(made("shop")) == 200

    def test_keeps_no_token(self) -> None:
        token = made("shop")

        assert token not in str(ApiClient.objects.values().get())

    def test_refuses_a_name_that_is_taken(self) -> None:
        token = made("shop")

        with pytest.raises(CommandError, match="--replace"):
            made("shop")
        assert status_with(token) == 200

    def test_replaces_a_token_when_told(self) -> None:
        old = made("shop")

        new = made("shop", "--replace")

        assert (status_with(old), status_with(new)) == (401, 200)
        assert ApiClient.objects.count() == 1
