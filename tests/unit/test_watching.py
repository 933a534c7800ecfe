"""A cache, compressor, cipher or chunker that does not come back is named, with the method and with how to do without it."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial
from types import ModuleType

import pytest

from wherry import watching
from wherry.abc.cache import Cache, Kept
from wherry.abc.chunker import Chunker, SupportsKey
from wherry.abc.cipher import Cipher
from wherry.abc.compressor import Compressor, SupportsVariant
from wherry.cid import CID, RAW
from wherry.errors import DecodeError, StoreError
from wherry.plugin import hookimpl, provider
from wherry.plugin.installed import Found, Installed
from wherry.store.fence import FencedCache
from wherry.watching import Watch, watched_chunker, watched_compressor
from wherry.wiring import Wiring
from wherry_cache.memory import MemoryCache
from wherry_cache.options import MemoryOptions

BLOCK = Kept(CID.of(RAW, b"data"), b"data", 4)
PATIENCE_S = 0.2


@pytest.fixture
def said():
    return []


@pytest.fixture
def watch(said):
    made = Watch(say=said.append, patience_s=PATIENCE_S)
    yield made
    made.close()


def hanging(call):
    thread = threading.Thread(target=call, name="hanging")
    thread.start()
    return thread


def heard(said):
    end = time.monotonic() + 10
    while not said and time.monotonic() < end:
        time.sleep(0.02)
    return said


def test_a_call_that_does_not_come_back_is_said_once(watch, said, held):
    calling = watch.of("the cache mine (acme.Cache)", "leave it out")

    def call():
        with calling("put_many"):
            held.wait(10)

    for _ in range(2):
        hanging(call)
    assert heard(said) == ["the cache mine (acme.Cache) has not come back from put_many after 0.2 s; leave it out"]
    time.sleep(2 * PATIENCE_S)
    assert len(said) == 1


def test_calls_that_come_back_are_not_said_however_many(watch, said):
    calling, end = watch.of("it", "so"), time.monotonic() + 3 * PATIENCE_S
    while time.monotonic() < end:
        with calling("get_many"):
            pass
        with pytest.raises(KeyError), calling("get_many"):
            raise KeyError
    assert (said, watch._calls) == ([], {})


def test_it_has_one_thread_which_ends_with_it(watch):
    before = threading.active_count()
    calling = watch.of("it", "so")
    assert threading.active_count() == before  # nothing was called yet
    for _ in range(3):
        with calling("get_many"):
            assert threading.active_count() == before + 1
    watch.close()
    with calling("get_many"):
        assert threading.active_count() == before


def test_what_is_watched_can_what_it_could(watch):
    class Plain:
        levels, name, leaf_bytes_max = (1, 2), "acme:1", 4

        def compress(self, data, *, level=None):
            return bytes(data) + bytes([level or 0])

        def decompress_into(self, coded, view):
            raise DecodeError("no")

        def cut(self, data, *, last):
            return [len(data)]

    class More(Plain):
        variant = "abc"

        def keyed(self, key):
            return self

    calling = watch.of("it", "so")
    for inner, more in ((Plain(), False), (More(), True)):
        compressor, chunker = watched_compressor(inner, calling), watched_chunker(inner, calling)
        assert (compressor.levels, compressor.compress(b"x", level=2)) == ((1, 2), b"x\2")
        with pytest.raises(DecodeError):
            compressor.decompress_into(b"x", memoryview(bytearray(1)))
        assert (chunker.name, chunker.leaf_bytes_max, chunker.cut(memoryview(b"abc"), last=True)) == ("acme:1", 4, [3])
        assert isinstance(compressor, SupportsVariant) is more
        assert isinstance(chunker, SupportsKey) is more
    assert compressor.variant == "abc"
    assert chunker.keyed(b"").cut(memoryview(b"abc"), last=True) == [3]


# Plugins of strangers


class Hangs:
    """A plugin's object of any kind, whose calls wait for the test."""

    levels, name, leaf_bytes_max = (1,), "acme:1", 4
    key_bytes, nonce_bytes, tag_bytes = 32, 24, 16

    def __init__(self, held):
        self.held = held

    def hang(self, *arguments, **options):
        self.held.wait(10)
        return [4]

    put_many = compress = decompress_into = seal_into = open_into = cut = hang
    get_many = sizes = delete_many = cids = usage = close = hang


@pytest.fixture
def wired(tmp_path, monkeypatch, said, held):
    """A node that is configured to use strangers' plugins only, all of which hang."""
    kinds = {"cache": Cache, "compressor": Compressor, "cipher": Cipher, "chunker": Chunker}
    made = ModuleType("plugin")
    for kind, contract in kinds.items():
        build = partial(
            lambda contract, options, env: type("Hangs", (Hangs, contract), {"__module__": __name__})(held), contract
        )
        offered = [provider("acme.own", options=MemoryOptions, build=build, summary="s")]
        setattr(made, f"wherry_register_{kind}s", hookimpl(lambda offered=offered: offered))
    found = [Found("acme", "acme.plugin", "acme-wherry", "1.2", lambda: made)]
    monkeypatch.setattr(Installed, "others", lambda self: found)
    monkeypatch.setattr(watching, "Watch", partial(Watch, say=said.append, patience_s=PATIENCE_S))
    (tmp_path / "wherry.toml").write_text("".join([f'[{kind}]\nuse = "acme.own"\n' for kind in kinds]))
    node = Wiring(tmp_path, None, {})
    yield node
    held.set()
    node.close()


CALLS = {
    ("cache", "put_many"): lambda node: node._fenced_cache().put_many([BLOCK]),
    ("cache", "get_many"): lambda node: node._fenced_cache().get_many([BLOCK.cid]),
    ("cache", "cids"): lambda node: list(node._fenced_cache().cids()),
    ("compressor", "compress"): lambda node: node.codings.encode(bytes(4096)),
    ("compressor", "decompress_into"): lambda node: node.codings.decode_into("acme.own", b"x", memoryview(bytearray(5))),
    ("cipher", "seal_into"): lambda node: node.cipher().seal_into(b"", memoryview(b""), key=b"", nonce=b"", aad=b""),
    ("cipher", "open_into"): lambda node: node.known_cipher("acme.own").open_into(
        b"", memoryview(b""), key=b"", nonce=b"", aad=b""
    ),
    ("chunker", "cut"): lambda node: node.chunker().cut(memoryview(b"data"), last=True),
}


@pytest.mark.parametrize(("kind", "method"), CALLS)
def test_a_stranger_that_hangs_is_named(wired, said, kind, method):
    def call():
        with suppress(Exception):  # what it gives in the end is nonsense
            CALLS[kind, method](wired)

    hanging(call)
    what = f"the {kind} acme.own ({__name__}.Hangs) has not come back from {method} after 0.2 s"
    assert heard(said) == [f"{what}; choose another under [{kind}], or WHERRY_DISABLE_PLUGINS=acme leaves it out"]


def test_a_stranger_inside_of_another_cache_is_named(wired, said, tmp_path):
    (tmp_path / "wherry.toml").write_text('[cache]\nuse = "tiered"\n[cache.tiered]\nover = "memory"\nunder = "acme.own"\n')
    node = Wiring(tmp_path, None, {})
    try:
        hanging(lambda: node._fenced_cache().put_many([BLOCK]))
        (line,) = heard(said)
        assert line.startswith(f"the cache acme.own ({__name__}.Hangs) has not come back from put_many")
    finally:
        node.close()


def test_wherrys_own_are_used_as_they_are(tmp_path):
    node = Wiring(tmp_path, None, {})
    assert type(node.chunker("fastcdc")).__module__ == "wherry_chunk.fastcdc"
    assert type(node.compressor("zstd")).__module__.startswith("wherry_compress")
    assert type(node.cipher()).__module__.startswith("wherry_cipher")


# At the end


def test_a_cache_that_does_not_close_is_left_behind(held, caplog):
    class Hanging(MemoryCache):
        def close(self):
            held.wait(10)

    cache, began = FencedCache(Hanging(1000), "mine", close_s=0.2), time.monotonic()
    cache.close()
    cache.close()  # and not waited for again
    assert time.monotonic() - began < 5
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == ["the cache mine"]
    assert caplog.text.count("has not come back after 0.2 s from close; it is left behind") == 1


def test_what_closing_raises_passes_or_is_said_as_ever(caplog):
    class Broken(MemoryCache):
        problem = StoreError("damaged")

        def close(self):
            raise self.problem

    cache = FencedCache(Broken(1000), "mine")
    with pytest.raises(StoreError, match="damaged"):
        cache.close()
    Broken.problem = RuntimeError("boom")
    cache.close()
    assert "it raised RuntimeError: boom" in caplog.text
