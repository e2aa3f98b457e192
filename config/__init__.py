"""The composition root: the only package that knows orders, inventory and messaging together."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
