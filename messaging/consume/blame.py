"""Whose fault is an error: the message's, or the infrastructure's?

Only a message that is at fault becomes a dead letter. Everything else is waited out.
"""

import traceback

from django.db import Error as DjangoDatabaseError

from messaging.errors import Poison
from messaging.models import DeadLetter

# SQLSTATE classes that speak of the data: 22 data exception, 23 integrity constraint violation.
# https://www.postgresql.org/docs/18/errcodes-appendix.html
_DATA_CLASSES = {"22", "23"}


def fault_of_message(error: Exception) -> Poison | None:
    """Why the message is at fault; None when it is not, and should be tried again later."""
    if isinstance(error, Poison):
        return error
    if isinstance(error, DjangoDatabaseError):
        sqlstate = getattr(error.__cause__, "sqlstate", None) or ""
        if sqlstate[:2] not in _DATA_CLASSES:
            return None
    return Poison(DeadLetter.Reason.HANDLER_FAILED, "".join(traceback.format_exception(error)))
