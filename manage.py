#!/usr/bin/env python
"""Django's command line: `python manage.py help` lists what this project adds."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import OperationalError

    try:
        execute_from_command_line(sys.argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has enough of it (`… | head`). What is left must not fail once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)  # as the shell has it for SIGPIPE
    except ImproperlyConfigured as error:
        # A wrong setting is the operator's to mend: one sentence says more than a traceback.
        sys.exit(f"manage.py: {error}")
    except OperationalError as error:
        state = getattr(error.__cause__, "sqlstate", None)
        if state and not state.startswith(("08", "57P")):  # it answers, and says no: a time-out, a full disk
            sys.exit(f"manage.py: the database refused: {error}")
        sys.exit(f"manage.py: the database does not answer: {error}\nStart it, or mend DATABASE_URL, and repeat.")


if __name__ == "__main__":
    main()
