"""The look of values, for the admin's templates."""

from django import template

from messaging.admin import show

register = template.Library()
register.filter("badge", show.badge)
register.filter("duration", show.duration)
register.filter("moment", show.moment)
