"""gunicorn's way in: `gunicorn config.wsgi`."""

import os

from django.core.exceptions import ImproperlyConfigured
from django.core.wsgi import get_wsgi_application
from gunicorn.errors import AppImportError

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
try:
    application = get_wsgi_application()
except ImproperlyConfigured as error:
    # Of this error gunicorn prints the sentence alone, and ends instead of starting the worker again and again.
    raise AppImportError(f"gunicorn: {error}") from error
