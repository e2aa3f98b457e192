"""What people see: look into outbox, inbox and dead letters, and replay what was refused.

    read_only      every page here: rows newest first, a page by key instead of by number, nothing to edit
    outbox         messages: state, headers, payload, receipt, and the whole way of their key
    inbox          what the consumers took, and what they keep waiting
    dead_letters   what they could not handle, as bytes
    second_chance  replay: a permission, a reason, and an audit row in the same transaction
    trail          the audit rows

Orders and inventory use `ReadOnlyAdmin` and `key_links`; they are named in settings and never imported.
"""

from messaging.admin import dead_letters, inbox, outbox, trail
from messaging.admin.links import key_links
from messaging.admin.read_only import ReadOnlyAdmin, ReadOnlyTable, as_uuid

__all__ = [
    "ReadOnlyAdmin",
    "ReadOnlyTable",
    "as_uuid",
    "dead_letters",
    "inbox",
    "key_links",
    "outbox",
    "trail",
]
