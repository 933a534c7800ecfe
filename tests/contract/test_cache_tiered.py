"""The tiered cache keeps the contract of caches, over any two; and what is its own: lifting, hints, two owners' quotas."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from wherry.errors import NoSpace, StoreError
from wherry.testing.cache import CacheContract
from wherry.testing.cache_use import BLOCK_BYTES, kept
from wherry_cache.disk import DiskCache
from wherry_cache.memory import MemoryCache
from wherry_cache.tiered import HINTS_MAX, TieredCache


class TestTieredCache(CacheContract):
    def make_cache(self, folder, max_bytes):
        return TieredCache(MemoryCache(max_bytes // 4), DiskCache(folder, max_bytes - max_bytes // 4))

    def make_expiring(self, folder, max_bytes, ttl, clock):
        over = MemoryCache(max_bytes // 4, ttl=ttl, clock=clock)
        return TieredCache(over, DiskCache(folder, max_bytes, ttl=ttl, clock=clock))


@pytest.fixture
def tiers():
    over, under = MemoryCache(10 * BLOCK_BYTES), MemoryCache(100 * BLOCK_BYTES)
    with closing(TieredCache(over, under)) as cache:
        yield cache, over, under


def test_what_is_put_goes_to_both(tiers):
    cache, over, under = tiers
    block = kept(1)
    cache.put_many([block])
    assert over.get_many([block.cid]) == under.get_many([block.cid]) == [block]


def test_what_is_found_below_is_lifted(tiers):
    cache, over, under = tiers
    blocks = [kept(number) for number in range(3)]
    cids = [block.cid for block in blocks]
    under.put_many(blocks)
    over.put_many(blocks[:1])
    assert cache.get_many([*cids, cids[2]]) == [*blocks, blocks[2]]
    assert over.has_many(cids) == [True] * 3
    assert cache.usage()[3:5] == (4, 0)


def test_a_hit_above_does_not_ask_below(tiers):
    cache, _, under = tiers
    cache.put_many([kept(1)])
    before = under.usage()
    cache.get_many([kept(1).cid])
    assert under.usage() == before


def test_what_only_the_upper_one_holds_counts_and_is_listed_once(tiers):
    cache, over, _ = tiers
    both, above = kept(1), kept(2)
    cache.put_many([both])
    over.put_many([above])
    assert sorted(cache.cids()) == sorted([both.cid, above.cid])
    assert cache.usage()[:3] == (2, 2 * BLOCK_BYTES, 110 * BLOCK_BYTES)


class Full(MemoryCache):
    def put_many(self, blocks):
        raise NoSpace("full")


def test_a_full_lower_cache_leaves_the_blocks_above():
    with closing(TieredCache(MemoryCache(1 << 20), Full(1 << 20))) as cache:
        with pytest.raises(NoSpace):
            cache.put_many([kept(1)])
        assert cache.get_many([kept(1).cid]) == [kept(1)]


class Deleting(MemoryCache):
    """Somebody deletes the block through the tiered cache while this one is being read."""

    def get_many(self, cids):
        found = super().get_many(cids)
        self.tiered.delete_many(cids)
        return found


def test_what_is_deleted_while_it_is_read_is_not_lifted():
    over, under = MemoryCache(1 << 20), Deleting(1 << 20)
    with closing(TieredCache(over, under)) as cache:
        under.tiered = cache
        under.put_many([kept(1)])
        cache.get_many([kept(1).cid])
        assert over.has_many([kept(1).cid]) == [False]


class Watched(MemoryCache):
    """Says when it was given blocks, or fails to read as often as told."""

    def __init__(self, max_bytes):
        super().__init__(max_bytes)
        self.lifted = threading.Event()
        self.largest = 0

    def put_many(self, blocks):
        super().put_many(blocks)
        self.largest = max(self.largest, sum(len(block.data) for block in blocks))
        if blocks and blocks[-1].cid == self.last:
            self.lifted.set()


def test_a_hint_lifts_in_the_background_in_order_and_in_small_parts():
    over, under = Watched(64 << 20), MemoryCache(64 << 20)
    blocks = [kept(number, 1 << 20) for number in range(12)]
    over.last = blocks[-1].cid
    under.put_many(blocks)
    with closing(TieredCache(over, under)) as cache:
        cache.prefetch([kept(99).cid, *(block.cid for block in blocks)])
        assert over.lifted.wait(20)
        assert over.has_many([block.cid for block in blocks]) == [True] * 12
        assert over.largest <= 4 << 20


class Failing(MemoryCache):
    def sizes(self, cids):
        if self.failures:
            self.failures -= 1
            raise StoreError("damaged")
        return super().sizes(cids)


def test_a_lower_cache_that_fails_does_not_end_the_thread():
    over, under = Watched(1 << 20), Failing(1 << 20)
    over.last = kept(2).cid
    under.failures = 1
    under.put_many([kept(1), kept(2)])
    with closing(TieredCache(over, under)) as cache:
        while not over.lifted.wait(0.05):
            cache.prefetch([kept(2).cid])
        assert under.failures == 0


def test_hints_that_wait_are_bounded_and_none_are_taken_when_closed(tiers):
    cache, _, _ = tiers
    cache.prefetch([kept(1).cid] * (10 * HINTS_MAX))
    assert len(cache._hints) <= HINTS_MAX
    cache.close()
    cache.prefetch([kept(1).cid])
    assert not cache._hints
