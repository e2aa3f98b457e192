"""Taking orders: the API accepts one, inventory's replies decide it."""
