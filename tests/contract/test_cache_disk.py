"""The disk cache keeps the contract of caches."""

from __future__ import annotations

from wherry.testing.cache import SharedCacheContract
from wherry_cache.disk import DiskCache


class TestDiskCache(SharedCacheContract):
    def make_cache(self, folder, max_bytes):
        return DiskCache(folder, max_bytes)
