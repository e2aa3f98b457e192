"""The product's settings, with the crash points installed. Never for production."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "faults.apps.FaultsConfig"]
