"""What can go wrong, said in sentences: what happened, why, and what to do next."""


class DevservicesError(Exception):
    """Something the person at the keyboard can act on; the text says how."""
