"""Where everything answers."""

from django.contrib import admin
from django.contrib.staticfiles.storage import staticfiles_storage
from django.urls import path
from django.views.generic import RedirectView

from config.api import api
from config.health import livez, readyz

admin.site.site_header = admin.site.site_title = "Zero loss"
admin.site.index_title = "Outbox, inbox and ledger"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("api/", api.urls),
    path("admin/", admin.site.urls),
    # Browsers ask for it whatever a page says.
    path("favicon.ico", RedirectView.as_view(url=staticfiles_storage.url("messaging/icon.svg"))),
    path("livez", livez),
    path("readyz", readyz),
]
