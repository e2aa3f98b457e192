from django.apps import AppConfig


class VersionTwo(AppConfig):
    name = "tests.faults.v2"
    label = "version_two"

    def ready(self) -> None:
        """What the next version's source would simply say: `place_order` writes the new message."""
        from orders import services
        from tests.faults.v2.messages import order_placed

        services.OrderPlaced = order_placed  # type: ignore[assignment,misc]
