"""What the contract does not ask: this cache keeps to the order of use exactly, and coded blocks count as they are kept."""

from __future__ import annotations

from wherry.abc.cache import Kept
from wherry.cid import CID, RAW

from acme_api1.cache.cache import LruCache


def test_the_least_recently_used_goes_first() -> None:
    first, second, third = (Kept(CID.of(RAW, data), data, len(data)) for data in (b"1111", b"2222", b"3333"))
    cache = LruCache(8)
    cache.put_many([first, second])
    cache.get_many([first.cid])
    cache.put_many([third])
    assert cache.get_many([first.cid, second.cid, third.cid]) == [first, None, third]
    assert cache.usage().evictions == 1


def test_coded_blocks_count_by_their_coded_bytes() -> None:
    coded = Kept(CID.of(RAW, bytes(1000)), b"short", 1000, "zstd")
    cache = LruCache(8)
    cache.put_many([coded])
    assert cache.get_many([coded.cid]) == [coded]
    assert cache.sizes([coded.cid]) == [1000]
    assert cache.usage().bytes == 5
