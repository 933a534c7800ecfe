"""How the caches are made for their suites: for `wherry plugins check` (specs/0006 §13.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.testing.cache import CacheContract, SharedCacheContract
from wherry_cache.disk import DiskCache
from wherry_cache.memory import MemoryCache
from wherry_cache.tiered import TieredCache

if TYPE_CHECKING:
    from pathlib import Path

    from wherry.abc.cache import Cache


class TestDisk(SharedCacheContract):
    """The disk cache: it outlives its process, and may be opened by several."""

    plugin = "disk"

    def make_cache(self, folder: Path, max_bytes: int) -> Cache:
        """See `CacheContract.make_cache`."""
        return DiskCache(folder, max_bytes)


class TestTiered(CacheContract):
    """The tiered cache, a quarter of it in memory."""

    plugin = "tiered"

    def make_cache(self, folder: Path, max_bytes: int) -> Cache:
        """See `CacheContract.make_cache`."""
        return TieredCache(MemoryCache(max_bytes // 4), DiskCache(folder, max_bytes - max_bytes // 4))
