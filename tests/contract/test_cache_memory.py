"""The memory cache keeps the contract of caches."""

from __future__ import annotations

from wherry.testing.cache import CacheContract
from wherry_cache.memory import MemoryCache


class TestMemoryCache(CacheContract):
    def make_cache(self, folder, max_bytes):
        return MemoryCache(max_bytes)
