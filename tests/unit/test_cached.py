"""The cache as core uses it: blocks coded at rest, and nothing believed that comes back."""

from __future__ import annotations

import hashlib
import zlib
from contextlib import closing

import pytest

from wherry.abc.cache import Kept
from wherry.abc.compressor import Compressor
from wherry.block import EMPTY_LEAF, named
from wherry.cid import CID, DAG_CBOR, RAW
from wherry.coding import Codings, Form
from wherry.errors import DecodeError, NoSpace, StoreError
from wherry.limits import LEAF_BYTES_MAX, PB_BYTES_MAX
from wherry.store.cached import Cached
from wherry.store.store import Store
from wherry_cache.memory import MemoryCache

TEXT = named(RAW, b"to code or not to code " * 1000)
NOISE = named(RAW, b"".join(hashlib.sha256(bytes([number])).digest() for number in range(200)))


class Deflate(Compressor):
    levels = (1, 9)

    def compress(self, data, *, level=None):
        return zlib.compress(data, level or 6)

    def decompress_into(self, coded, view):
        worker = zlib.decompressobj()
        try:
            data = worker.decompress(coded, len(view) + 1)
        except zlib.error as problem:
            raise DecodeError(str(problem)) from problem
        if len(data) != len(view) or not worker.eof or worker.unused_data:
            raise DecodeError("another length")
        view[:] = data


def codings(preferred="deflate"):
    forms = [Form("deflate", "deflate"), Form("identity", "identity")]
    return lambda: Codings(preferred, lambda name: Deflate(), forms)


@pytest.fixture
def cache():
    return MemoryCache(64 << 20)


@pytest.fixture
def cached(cache):
    with closing(Cached(cache, codings())) as opened:
        yield opened


def test_what_shrinks_is_kept_coded_and_the_rest_plain(cached, cache):
    cached.put([TEXT, NOISE, named(RAW, b"")])
    text, noise, empty = cache.get_many([TEXT.cid, NOISE.cid, CID.of(RAW, b"")])
    assert (text.coding, text.size) == ("deflate", len(TEXT.data))
    assert len(text.data) < len(TEXT.data) / 10
    assert noise == Kept(*NOISE, len(NOISE.data))
    assert empty == Kept(CID.of(RAW, b""), b"", 0)
    assert cache.usage().bytes == len(text.data) + len(NOISE.data)


def test_blocks_come_back_as_they_went_in(cached):
    blocks = [TEXT, NOISE, named(RAW, b""), named(DAG_CBOR, b"\xa0")]
    cached.put(blocks)
    assert cached.get([block.cid for block in [*blocks, blocks[0]]]) == {block.cid: block for block in blocks}
    assert cached.sizes([block.cid for block in blocks]) == [len(block.data) for block in blocks]
    for block in blocks:
        data = bytearray(len(block.data))
        cached.read_into(block.cid, memoryview(data))
        assert data == block.data


@pytest.mark.parametrize("later", ["identity", "deflate"])
def test_another_configuration_reads_what_this_one_coded(cache, later):
    """Changing the compressor by one line keeps what is there."""
    Cached(cache, codings()).put([TEXT])
    Cached(cache, codings("identity")).put([NOISE])
    assert Cached(cache, codings(later)).get([TEXT.cid, NOISE.cid]) == {TEXT.cid: TEXT, NOISE.cid: NOISE}


CODED = zlib.compress(TEXT.data)
WRONG = {
    "plain, other bytes": Kept(TEXT.cid, b"x" * len(TEXT.data), len(TEXT.data)),
    "plain, cut": Kept(TEXT.cid, TEXT.data[:-1], len(TEXT.data)),
    "plain, longer than a block may be": Kept(TEXT.cid, bytes(LEAF_BYTES_MAX + 1), LEAF_BYTES_MAX + 1),
    "coded, cut": Kept(TEXT.cid, CODED[:-5], len(TEXT.data), "deflate"),
    "coded, more behind it": Kept(TEXT.cid, CODED + b"more", len(TEXT.data), "deflate"),
    "coded, another block": Kept(TEXT.cid, zlib.compress(TEXT.data[::-1]), len(TEXT.data), "deflate"),
    "coded, smaller size": Kept(TEXT.cid, CODED, len(TEXT.data) - 1, "deflate"),
    "coded, larger size": Kept(TEXT.cid, CODED, len(TEXT.data) + 1, "deflate"),
    "coded, no size": Kept(TEXT.cid, CODED, 0, "deflate"),
    "coded, negative size": Kept(TEXT.cid, CODED, -1, "deflate"),
    "coded, a size that would take all memory": Kept(TEXT.cid, CODED, 1 << 60, "deflate"),
    "coded by nobody knows what": Kept(TEXT.cid, CODED, len(TEXT.data), "acme.none"),
    "coded, and called plain": Kept(TEXT.cid, CODED, len(TEXT.data)),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_is_not_right_is_a_miss_and_forgotten(cached, cache, wrong):
    cache.put_many([wrong])
    assert cached.coded(TEXT.cid, len(TEXT.data), ["deflate", "acme.none"]) is None
    cache.put_many([wrong])
    assert cached.get([TEXT.cid]) == {}
    assert cache.has_many([TEXT.cid]) == [False]
    cache.put_many([wrong])
    with pytest.raises(StoreError):
        cached.read_into(TEXT.cid, memoryview(bytearray(len(TEXT.data))))
    assert cache.has_many([TEXT.cid]) == [False]


def test_sizes_that_no_block_has_are_none(cached, cache):
    node = CID.of(DAG_CBOR, b"\xa0")
    cache.put_many([Kept(TEXT.cid, b"", LEAF_BYTES_MAX + 1, "deflate"), Kept(node, b"", PB_BYTES_MAX + 1, "deflate")])
    assert cached.sizes([TEXT.cid, node]) == [None, None]


def test_a_decoder_is_not_built_before_it_is_needed(cache):
    built = []
    with closing(Cached(cache, lambda: built.append(1) or codings()())) as opened:
        cache.put_many([Kept(*NOISE, len(NOISE.data))])
        assert opened.get([NOISE.cid]) == {NOISE.cid: NOISE}
        assert not built
        opened.put([TEXT])
        opened.put([TEXT])
        assert built == [1]


def test_coded_blocks_are_given_as_they_lie_to_who_can_decode_them(tmp_path, cache):
    with closing(Store(tmp_path, lambda: cache, codings=codings())) as store:
        store.cache.put([TEXT, NOISE])
        text, noise = store.find([TEXT.cid, NOISE.cid])
        name, data = text.coded({"deflate", "zstd"})
        assert (name, zlib.decompress(data)) == ("deflate", TEXT.data)
        assert text.coded({"zstd"}) is None
        assert noise.coded({"deflate", ""}) is None
        cache.delete_many([TEXT.cid])
        assert text.coded({"deflate"}) is None


class Full(MemoryCache):
    def put_many(self, blocks):
        raise NoSpace("full")

    def delete_many(self, cids):
        raise StoreError("read-only")


def test_who_only_offers_does_not_hear_of_a_full_disk():
    with closing(Cached(Full(1 << 20), codings())) as opened:
        opened.offer([TEXT])
        opened.forget([TEXT.cid])
        with pytest.raises(NoSpace):
            opened.put([TEXT])


def test_clearing_forgets_all_in_batches(cached, cache):
    cached.put([named(RAW, number.to_bytes(4)) for number in range(2500)])
    assert cached.clear() == 2500
    assert cache.usage()[:2] == (0, 0)
    assert cached.clear() == 0


class Stubborn(MemoryCache):
    def delete_many(self, cids):
        pass


def test_clearing_a_cache_that_forgets_nothing_ends():
    with closing(Cached(Stubborn(1 << 20), codings())) as opened:
        opened.put([TEXT])
        with pytest.raises(StoreError, match="forget"):
            opened.clear()


def test_hints_reach_a_cache_that_takes_them(tmp_path, cache):
    hints = []

    class Hinted(MemoryCache):
        def prefetch(self, cids):
            hints.append(list(cids))

    with closing(Store(tmp_path, lambda: Hinted(1 << 20))) as store:
        store.prefetch([TEXT.cid])  # nobody used the cache yet: it is not opened for a hint
        assert not hints
        store.find([TEXT.cid])
        store.prefetch([TEXT.cid])
        assert hints == [[TEXT.cid]]
    with closing(Store(tmp_path, lambda: cache)) as store:
        store.find([TEXT.cid])
        store.prefetch([TEXT.cid])


class Unreadable(MemoryCache):
    """Its disk, or its index, cannot be read."""

    def fail(self, *_):
        raise StoreError("reading the cache: its index is damaged", hint="it is made anew")

    get_many = sizes = usage = fail


@pytest.mark.parametrize("how", ["opened", "read"])
def test_a_cache_that_cannot_be_opened_or_read_is_left_aside_and_said_once(tmp_path, monkeypatch, caplog, how):
    block = named(RAW, b"somewhere else")
    asked = []

    def open_cache():
        asked.append(1)
        if how == "opened":
            raise NoSpace("opening the cache: the disk is full", hint="free some")
        return Unreadable(1 << 20)

    with closing(Store(tmp_path, open_cache)) as store:
        for _ in range(3):
            assert store.find([block.cid, EMPTY_LEAF])[0] is None
            assert store.blocks([block.cid]) == {}
            assert store.holds_any() is False
            store.offer([block])
        assert len(asked) == 1
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert caplog.messages[0].startswith("the cache is left aside: ")
        monkeypatch.setattr("wherry.store.store.ASIDE_S", 0.0)  # it is tried again later, and not told again
        store._aside_until = 0.0
        store.find([block.cid])
        store.find([block.cid])
        assert len(asked) == (3 if how == "opened" else 1)
        assert len(caplog.records) == 1
        with pytest.raises((NoSpace, StoreError)):  # who is about the cache itself is told
            store.cache.usage()
