"""`python -m demo.seed`: stock, the admin's account and a client of the API, for docker compose."""

import django


def main() -> None:
    django.setup()

    from config.env import env  # noqa: PLC0415
    from demo.prepare import seed  # noqa: PLC0415

    seed(token=env.str("API_TOKEN"), admin_password=env.str("ADMIN_PASSWORD"))


if __name__ == "__main__":
    main()
