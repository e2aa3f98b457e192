"""Admin pages to look at and not to touch, which stay quick whatever the number of rows.

Django's own lists count all rows and skip to a page by OFFSET: both read the whole table. Here a page
starts at a key, `?p=older-<key>`, so that the first and the last page cost the same, and nothing is counted.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse

M = TypeVar("M", bound=Model)

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
else:
    # The type checker knows these classes as generic ones; Django 5.2 itself does not.
    class ModelAdmin(admin.ModelAdmin, Generic[M]):
        pass

    class TabularInline(admin.TabularInline, Generic[M, TypeVar("Parent")]):
        pass


class KeysetChangeList(ChangeList):
    """A list that pages by primary key. `older` and `newer` are the links to its neighbours, or empty."""

    model_admin: "ReadOnlyAdmin[Any]"
    older = newer = ""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """The rows without the columns that only their own page shows: a payload may have 256 KiB."""
        return super().get_queryset(request, exclude_parameters).defer(*self.model_admin.heavy_fields)

    def get_results(self, request: HttpRequest) -> None:
        way, _, start = request.GET.get(PAGE_VAR, "").partition("-")
        forward = self.model_admin.newest_first is (way == "newer")
        rows = self.queryset.order_by("pk" if forward else "-pk")
        key = self._key(start) if way in ("older", "newer") else None
        if key is not None:
            rows = rows.filter(**{"pk__gt" if forward else "pk__lt": key})
        # One row more than fits says whether there is another page.
        found = list(rows[: self.list_per_page + 1])
        shown, more = found[: self.list_per_page], len(found) > self.list_per_page
        if way == "newer":
            shown.reverse()
        if shown and (more or (way == "newer" and key is not None)):
            self.older = self.get_query_string({PAGE_VAR: f"older-{shown[-1].pk}"})
        if shown and ((way == "newer" and more) or (way == "older" and key is not None)):
            self.newer = self.get_query_string({PAGE_VAR: f"newer-{shown[0].pk}"})
        self.result_list = shown
        # The numbers of this page only: the templates want some, and nobody counts the table.
        self.result_count = self.full_result_count = len(shown)
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.paginator = Paginator(shown, self.list_per_page)

    def _key(self, text: str) -> Any:
        """The key in the page's address; None where somebody typed something else."""
        try:
            return None if "\x00" in text else self.opts.pk.to_python(text)
        except ValidationError:
            return None


class _NothingToEdit:
    """No permission to add, change or delete, not even for a superuser."""

    def has_add_permission(self, *_: Any, **__: Any) -> bool:
        return False

    def has_change_permission(self, *_: Any, **__: Any) -> bool:
        return False

    def has_delete_permission(self, *_: Any, **__: Any) -> bool:
        return False


class ReadOnlyAdmin(_NothingToEdit, ModelAdmin[M]):
    """A window onto one table."""

    newest_first = True
    heavy_fields: tuple[str, ...] = ()
    # The query parameters that `list_filter` makes.
    filter_lookups: tuple[str, ...] = ()
    actions = None
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each facet would count the table
    sortable_by: ClassVar[tuple[str, ...]] = ()  # only the key has an index for every filter
    change_list_template = "admin/messaging/read_only_list.html"

    class Media:
        css = {"all": ["messaging/admin.css"]}

    def search(self, queryset: QuerySet[M], term: str) -> QuerySet[M]:
        """What the search box finds. By an index: there may be millions of rows."""
        return queryset  # a page without `search_fields` has no box

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[M], search_term: str
    ) -> tuple[QuerySet[M], bool]:
        term = search_term.strip()
        return (self.search(queryset, term) if term else queryset), False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return KeysetChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        # Django's title would be "Select … to view".
        title = str(self.opts.verbose_name_plural).capitalize()
        return super().changelist_view(request, {"title": title, **(extra_context or {})})

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """The filters that the page shows, and no others.

        Django allows any lookup on the table's own columns: one could guess a token's hash digit by digit.
        """
        return lookup in self.filter_lookups


class ReadOnlyTable(_NothingToEdit, TabularInline[M, Any]):
    """A table of related rows below the page's own."""

    extra = 0
    can_delete = False


def as_uuid(term: str) -> UUID | None:
    """The UUID that somebody typed; None when it is something else."""
    try:
        return UUID(term)
    except ValueError:
        return None


def column(title: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A computed column or field with its title."""
    return admin.display(description=title)
