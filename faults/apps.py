"""The Django app that arms the crash points of this process."""

from django.apps import AppConfig


class FaultsConfig(AppConfig):
    """Wraps the product's seams when every app is loaded."""

    name = "faults"

    def ready(self) -> None:
        from faults.arm import arm

        arm()
