"""The icon that every browser asks for."""

from django.test import Client


class TestTheIcon:
    def test_is_there_for_a_browser_that_asks(self) -> None:
        answer = Client().get("/favicon.ico", follow=True)

        assert answer.status_code == 200
        assert answer["Content-Type"] == "image/svg+xml"
        assert b"".join(answer).startswith(b"<svg")
