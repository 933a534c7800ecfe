"""The fence around caches: a strange answer or exception puts a cache out of use, said once; errors of wherry's pass."""

from __future__ import annotations

import logging

import pytest

from wherry.abc.cache import CacheUsage, Kept
from wherry.cid import CID, RAW
from wherry.errors import StoreError
from wherry.store.fence import FencedCache
from wherry.testing.cache import CacheContract
from wherry_cache.memory import MemoryCache

BLOCK = Kept(CID.of(RAW, b"data"), b"data", 4)


class TestFenced(CacheContract):
    """A cache that keeps its contract keeps it behind the fence."""

    def make_cache(self, folder, max_bytes):
        return FencedCache(MemoryCache(max_bytes), "memory")


def odd(**methods):
    """A fenced cache, some methods of which answer as the test says; a class in an answer is raised."""

    def method(answer):
        def call(self, *arguments):
            if isinstance(answer, type):
                raise answer("boom")
            return answer

        return call

    made = type("OddCache", (MemoryCache,), {name: method(answer) for name, answer in methods.items()})
    return FencedCache(made(1000), "mine")


@pytest.mark.parametrize(
    "answer", [RuntimeError, None, 5, [], [None, None], [5], [b"data"], [BLOCK._replace(data=bytearray(b"data"))], "x"]
)
def test_strange_blocks_are_misses(answer, caplog):
    cache = odd(get_many=answer)
    assert cache.get_many([BLOCK.cid]) == [None]
    assert cache.get_many([BLOCK.cid]) == [None]
    assert len(caplog.records) == 1  # it is said once
    assert "the cache mine" in caplog.text
    assert "OddCache" in caplog.text


@pytest.mark.parametrize("answer", [RuntimeError, None, [], ["4"], [4.0]])
def test_strange_sizes_are_misses(answer):
    assert odd(sizes=answer).sizes([BLOCK.cid]) == [None]


@pytest.mark.parametrize("answer", [RuntimeError, None, (1, 2, 3), CacheUsage(1, 2, 3, 4, 5, "6")])
def test_strange_usage_is_none(answer):
    assert odd(usage=answer).usage() == CacheUsage(0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("answer", [RuntimeError, None, ["x"], [b"x" * 36]])
def test_strange_listings_end(answer):
    assert list(odd(cids=answer).cids()) == []


def test_what_fails_once_is_not_asked_again():
    cache = odd(put_many=RuntimeError)
    cache.put_many([BLOCK])
    assert cache.out
    cache._inner.get_many = None  # would raise
    assert cache.get_many([BLOCK.cid]) == [None]
    cache.delete_many([BLOCK.cid])
    cache.close()


def test_errors_of_wherrys_pass():
    cache = odd(get_many=StoreError, put_many=StoreError)
    for call in (lambda: cache.get_many([BLOCK.cid]), lambda: cache.put_many([BLOCK])):
        with pytest.raises(StoreError):
            call()
    assert not cache.out


def test_it_is_closed_also_when_it_is_out_of_use(caplog):
    caplog.set_level(logging.CRITICAL)
    closed = []
    cache = odd(get_many=RuntimeError)
    cache._inner.close = lambda: closed.append(True)
    cache.get_many([BLOCK.cid])
    cache.close()
    assert closed == [True]


def test_hints_reach_those_who_take_them():
    taken = []
    cache = odd()
    cache.prefetch([BLOCK.cid])
    cache._inner.prefetch = taken.extend
    cache.prefetch([BLOCK.cid])
    assert taken == [BLOCK.cid]
