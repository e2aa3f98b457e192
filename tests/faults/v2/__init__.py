"""The next version of the product, as a deploy would bring it: orders says `orders.order_placed.v2`, whose fields have
other names, and inventory reads both versions.

Its settings are `tests.faults.v2.settings`; the product itself has no switch for it.
"""
