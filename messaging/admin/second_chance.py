"""Replay in the admin: its own permission, a page that asks for a reason, and an audit row.

A GET only shows the page. The POST replays and writes the audit row in one transaction: neither is ever
there without the other. Two operators, or one who clicks twice: the second is told that it is done.
"""

from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, InternalError, OperationalError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from messaging.admin.read_only import M, ReadOnlyAdmin
from messaging.admin.show import in_short
from messaging.errors import ReplayRefused


class ReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60, "autofocus": True}),
        help_text="What was mended, so that it works this time. It is kept with your name.",
    )


class SecondChanceAdmin(ReadOnlyAdmin[M]):
    """A read-only page with one button."""

    replay_permission: ClassVar[str]
    replay_label: ClassVar[str]
    replay_effect: ClassVar[str]
    change_form_template = "admin/messaging/second_chance.html"

    def replay(self, row: M) -> None:
        """Do it, inside the caller's transaction. Raises ReplayRefused."""
        raise NotImplementedError

    def why_not(self, row: M) -> str:
        """Why this row cannot be replayed; empty when it can."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.replay_view)
        own = path("<int:pk>/replay/", view, name=f"messaging_{self.opts.model_name}_replay")
        return [own, *super().get_urls()]

    def replay_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if not request.user.has_perm(self.replay_permission):
            return self._page(request, None, status=403)
        row = self.get_queryset(request).filter(pk=pk).first()
        if row is None:
            messages.error(request, f"There is no {self.opts.verbose_name} {pk}.")
            return HttpResponseRedirect(self._list_url())
        form = ReasonForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            self._replay_and_tell(request, row, form.cleaned_data["reason"])
            return HttpResponseRedirect(self._row_url(row))
        if reason := self.why_not(row):
            messages.warning(request, f"Not replayed: {reason}.")
            return HttpResponseRedirect(self._row_url(row))
        return self._page(request, row, form=form)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        button = {"replay_label": self.replay_label, "replay_url": self._replay_url(request, row)}
        return super().change_view(request, object_id, form_url, {**button, **(extra_context or {})})

    def _replay_url(self, request: HttpRequest, row: M | None) -> str:
        if row is None or self.why_not(row) or not request.user.has_perm(self.replay_permission):
            return ""
        return reverse(f"admin:messaging_{self.opts.model_name}_replay", args=[row.pk])

    def _replay_and_tell(self, request: HttpRequest, row: M, reason: str) -> None:
        try:
            with transaction.atomic():
                self.replay(row)
                self.log_change(request, row, f"{self.replay_label}: {reason}")
        except ReplayRefused as error:
            messages.error(request, f"Not replayed, and nothing was changed: {in_short(str(error))}.")
        except (OperationalError, InterfaceError, InternalError) as error:
            # A lock that another operator or a consumer held for too long, or a deadlock: not a refusal. Or COMMIT's
            # answer was lost, and it is done: only the row itself can tell.
            messages.error(request, f"No answer from the database. What this page shows holds: {in_short(str(error))}.")
        else:
            messages.success(request, f"{self.replay_label}: done, and noted with your reason.")

    def _list_url(self) -> str:
        return reverse(f"admin:messaging_{self.opts.model_name}_changelist")

    def _row_url(self, row: M) -> str:
        return reverse(f"admin:messaging_{self.opts.model_name}_change", args=[row.pk])

    def _page(
        self, request: HttpRequest, row: M | None, *, form: ReasonForm | None = None, status: int = 200
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "list_url": self._list_url(),
            "row": row,
            "row_url": self._row_url(row) if row else "",
            "form": form,
            "title": self.replay_label,
            "effect": self.replay_effect,
            "permission": self.replay_permission,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/messaging/confirm.html", context, status=status)
