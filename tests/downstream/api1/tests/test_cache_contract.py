"""The cache keeps the contract of caches."""

from __future__ import annotations

from pathlib import Path

from wherry.abc.cache import Cache
from wherry.testing.cache import CacheContract

from acme_api1.cache.cache import LruCache


class TestCache(CacheContract):
    def make_cache(self, folder: Path, max_bytes: int) -> Cache:
        return LruCache(max_bytes)
