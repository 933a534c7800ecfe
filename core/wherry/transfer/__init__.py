"""The verbs: add, get, serve, cat, ls, verify. Read `add`, `get` and `serve` from top to bottom to find the way of the data."""
