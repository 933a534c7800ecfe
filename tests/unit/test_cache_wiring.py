"""Caches chosen by configuration: one made of others, another compressor by one line, hints ahead of a reading."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest
from getting import A

from wherry.block import named
from wherry.cid import RAW
from wherry.errors import ConfigError, PluginError, WherryError
from wherry.wiring import Wiring
from wherry_cache.disk import DiskCache
from wherry_cache.memory import MemoryCache
from wherry_cache.tiered import TieredCache


def wiring(tmp_path, text):
    (tmp_path / "wherry.toml").write_text(text)
    return Wiring(tmp_path, None, {})


def test_tiered_is_memory_over_disk(tmp_path):
    made = wiring(tmp_path, '[cache]\nuse = "tiered"\n[cache.memory]\nmax_bytes = "1 MiB"\n')
    with closing(made.cache("tiered")) as cache:
        assert isinstance(cache, TieredCache)
        assert isinstance(cache._over, MemoryCache)
        assert isinstance(cache._under, DiskCache)
        assert cache.usage().bytes_max == (1 << 20) + (10 << 30)
    assert (tmp_path / "cache" / "index.db").exists()


def test_tiers_are_instances_by_their_names(tmp_path):
    made = wiring(
        tmp_path,
        """
        [cache]
        use = "mine"
        [cache.mine]
        plugin = "tiered"
        over = "small"
        under = "inner"
        [cache.small]
        plugin = "memory"
        max_bytes = "1 MiB"
        [cache.inner]
        plugin = "tiered"
        over = "memory"
        under = "big"
        [cache.big]
        plugin = "disk"
        path = "elsewhere"
        eviction = "2q"
        ttl = "1h"
        min_free = "1 MiB"
        """,
    )
    with closing(made.cache("mine")) as cache:
        big = cache._under._under
        assert (big._eviction, big._ttl, big._min_free) == ("2q", 3600.0, 1 << 20)
        assert cache._over._max_bytes == 1 << 20
    assert (tmp_path / "elsewhere" / "index.db").exists()


def circle(first, second):
    return f"""
        [cache]
        use = "one"
        [cache.one]
        plugin = "tiered"
        {first}
        [cache.two]
        plugin = "tiered"
        {second}
        """


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ('under = "one"', "", "one, made of one"),
        ('under = "two"', 'under = "one"', "one, made of two, made of one"),
        ('over = "two"', 'over = "one"', "one, made of two, made of one"),
        ('under = "two"', 'under = "two"', "two, made of two"),
    ],
)
def test_a_cache_made_of_itself_is_refused(tmp_path, first, second, words):
    made = wiring(tmp_path, circle(first, second))
    with pytest.raises(ConfigError, match=words) as caught:
        made.cache("one")
    assert "[cache." in caught.value.hint


def test_one_cache_on_both_tiers_is_refused(tmp_path):
    with pytest.raises(WherryError, match="two caches"):
        wiring(tmp_path, '[cache]\nuse = "tiered"\n[cache.tiered]\nover = "disk"\n').cache("tiered")


def test_a_tier_that_is_not_installed(tmp_path):
    made = wiring(tmp_path, '[cache]\nuse = "tiered"\n[cache.tiered]\nunder = "acme.cache"\n')
    with pytest.raises(PluginError, match="acme"):
        made.cache("tiered")


def test_the_compressor_changes_by_one_line_and_what_was_kept_is_read_on(tmp_path):
    text = named(RAW, b"to code or not to code " * 5000)
    forms = []
    for compressor in ("zstd", "lz4", "identity", "zstd"):
        with closing(wiring(tmp_path, f'[compressor]\nuse = "{compressor}"\n').store()) as store:
            more = named(RAW, compressor.encode() * 5000)
            store.cache.put([text, more])  # held already: it stays as it is
            forms.append({kept.coding for kept in store.cache.cache.get_many([text.cid, more.cid])})
            held = store.find([text.cid])[0]
            data = bytearray(held.size)
            held.read_into(memoryview(data))
            assert data == text.data
            assert store.cache.get([more.cid]) == {more.cid: more}
    assert forms == [{"zstd"}, {"zstd", "lz4"}, {"zstd", ""}, {"zstd"}]


class Hinted(MemoryCache):
    """Notes what it is told."""

    def __init__(self):
        super().__init__(64 << 20)
        self.hints = []

    def prefetch(self, cids):
        self.hints.append(list(cids))


def test_reading_tells_the_cache_what_comes_in_batches(world, tmp_path):
    leaf = 1 << 20

    async def work():
        path = tmp_path / "file"
        path.write_bytes(b"".join(bytes([number]) * leaf for number in range(45)))
        async with world.shared(path) as cid, world.node() as session:
            cache = Hinted()
            session._store._open_cache = lambda: cache
            whole = b"".join([piece async for piece in session.cat(cid, sources=[A])])
            assert whole == path.read_bytes()
            first = [cid for batch in cache.hints for cid in batch]
            cache.hints.clear()
            assert b"".join([piece async for piece in session.cat(cid)]) == whole  # now from the cache
            assert cache.usage().hits >= 45
        return first, cache.hints

    first, hints = asyncio.run(work())
    assert [len(batch) for batch in hints] == [32, 7]  # the six that are read at once are not announced
    assert first == [cid for batch in hints for cid in batch]
    assert len(set(first)) == 39
