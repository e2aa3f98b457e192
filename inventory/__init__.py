"""Keeping stock: each order deducts once, or not at all."""
