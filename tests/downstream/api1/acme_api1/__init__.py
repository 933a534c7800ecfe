"""One plugin of each kind, written against plugin API 1 when that appeared. Frozen: see tests/architecture/test_promises.py."""
