"""Whose fault is an error: the message's, or the infrastructure's?

Only a message that is at fault becomes a dead letter. Everything else is waited out, or ends the process.

When you copy this: an error that is not known here is taken to be the message's. So a handler's own bug, after a bad
deploy, makes dead letters of all that comes, and so does a network's error that is no OSError, as some HTTP clients
raise. Where your handler speaks to anything but the database, raise OSError or a subclass of your own instead: the
consumer waits that out. What a bug has buried is replayed after the mend (`manage.py replay`), with what parked behind.
"""

import traceback

from django.db import DataError, IntegrityError
from django.db import Error as DatabaseError

from messaging.errors import Poison
from messaging.models import DeadLetter

# Trouble of the surroundings, whatever message was in hand when it came: the consumer tries again.
WAITED_OUT = (DatabaseError, OSError)
# … and of this process, which ends.
_NOT_THE_MESSAGE = (*WAITED_OUT, MemoryError)


def fault_of_message(error: Exception) -> Poison | None:
    """Why the message is at fault; None when it is not, and should be tried again later.

    Of the database's errors only those that speak of the data count: a value that does not fit, a
    constraint that does not hold. A missing table, a full disk, a lost connection are not the message's.
    """
    if isinstance(error, Poison):
        return error
    if isinstance(error, _NOT_THE_MESSAGE) and not isinstance(error, DataError | IntegrityError):
        return None
    return Poison(DeadLetter.Reason.HANDLER_FAILED, "".join(traceback.format_exception(error)))
