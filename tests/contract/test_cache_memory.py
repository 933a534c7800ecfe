"""The memory cache keeps the contract of caches, by either rule of what goes first."""

from __future__ import annotations

from contextlib import closing

from wherry.testing.cache import CacheContract
from wherry.testing.cache_use import BLOCK_BYTES, kept
from wherry_cache.memory import MemoryCache


class TestMemoryCache(CacheContract):
    def make_cache(self, folder, max_bytes):
        return MemoryCache(max_bytes)

    def make_expiring(self, folder, max_bytes, ttl, clock):
        return MemoryCache(max_bytes, ttl=ttl, clock=clock)


class TestMemoryCacheThatResistsScans(CacheContract):
    def make_cache(self, folder, max_bytes):
        return MemoryCache(max_bytes, eviction="2q")

    def make_expiring(self, folder, max_bytes, ttl, clock):
        return MemoryCache(max_bytes, ttl=ttl, eviction="2q", clock=clock)


def test_a_scan_does_not_sweep_away_what_is_used_again():
    def left(eviction):
        with closing(MemoryCache(8 * BLOCK_BYTES, eviction=eviction)) as cache:
            again = [kept(number) for number in range(4)]
            cids = [block.cid for block in again]
            cache.put_many(again)
            cache.get_many(cids)
            for number in range(100, 200):
                cache.put_many([kept(number)])
            return sum(cache.has_many(cids))

    assert (left("2q"), left("lru")) == (4, 0)


def test_what_is_used_again_goes_when_there_is_more_of_it_than_fits():
    with closing(MemoryCache(8 * BLOCK_BYTES, eviction="2q")) as cache:
        blocks = [kept(number) for number in range(20)]
        for block in blocks:
            cache.put_many([block])
            cache.get_many([block.cid])
        held = cache.has_many([block.cid for block in blocks])
        assert held == [False] * 12 + [True] * 8
