"""However a block gets out (sendfile, gathered, hashed first, copied through TLS) the bytes are the same."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, closing

import pytest

from wherry import outlet
from wherry.errors import PeerError
from wherry.store.index import FileRecord, LeafRow, Signature
from wherry.store.store import Store
from wherry.testing.blocks import CountedPool, fetch_once, harvest
from wherry.testing.certificates import make_certificate
from wherry.testing.leaves import file_of, right, unsized
from wherry_http.options import HttpOptions
from wherry_http.transport import HttpTransport

SMALL = [file_of(f"small/{number}", 100 + number) for number in range(50)]
MIDDLE = file_of("middle", *[20_000] * 3)
LARGE = file_of("large", *[700_000] * 5)
ALL = [leaf for file in (*SMALL, MIDDLE, LARGE) for leaf in file]
WAYS = ("sendfile", "hash", "tls", "tls-hash")


@asynccontextmanager
async def served(folder, way):
    """Files on disk, in a real store, behind a server; yields the store and a channel."""
    options = HttpOptions(idle_timeout=5.0)
    if "tls" in way:
        certificate, key = make_certificate(folder)
        options = HttpOptions(idle_timeout=5.0, tls_cert=certificate, tls_key=key, tls_ca=certificate)
    home, data = folder / "home", folder / "data"
    home.mkdir()
    with closing(Store(home, None, hashed="hash" in way)) as store:
        for file in (*SMALL, MIDDLE, LARGE):
            path = data / file[0].want.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(leaf.data for leaf in file))
            rows = [LeafRow(leaf.want.cid.digest, leaf.want.offset, leaf.want.size) for leaf in file]
            store.index.record([FileRecord(str(path), Signature.of(path.stat()), None, "c", rows)])
        transport = HttpTransport(options)
        async with transport.listen("http://127.0.0.1:0", store) as address, transport.connect(address) as channel:
            assert address.startswith("https" if "tls" in way else "http:")
            yield store, channel


def wants(leaves):
    return [leaf.want for leaf in leaves]


@pytest.fixture
def spans(monkeypatch):
    """How many bytes went by sendfile."""
    sent = []
    real = os.sendfile

    def counting(*arguments):
        sent.append(real(*arguments))
        return sent[-1]

    monkeypatch.setattr(outlet.os, "sendfile", counting)
    return sent


@pytest.mark.parametrize("way", WAYS)
async def test_the_bytes_are_the_same(way, tmp_path, spans):
    async with served(tmp_path, way) as (_, channel):
        pool = CountedPool()
        right(await harvest(channel, wants(ALL), pool), ALL)
        right(await harvest(channel, wants(ALL[::-1]), pool), ALL[::-1])
        right(await harvest(channel, unsized(ALL), pool), ALL)
        assert pool.out == 0
    large = sum(leaf.want.size for leaf in LARGE)
    assert sum(spans) == (3 * large if way == "sendfile" else 0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("change", ["rewritten", "truncated", "deleted", "replaced", "fifo", "symlink"])
async def test_a_file_that_changed_is_missing(way, change, tmp_path):
    async with served(tmp_path, way) as (_, channel):
        pool = CountedPool()
        for name in ("large", "small/7", "middle"):
            path = tmp_path / "data" / name
            before = path.read_bytes()
            if change == "rewritten":
                path.write_bytes(bytes(len(before)))
            elif change == "truncated":
                os.truncate(path, 50)
            else:
                path.unlink()
                if change == "replaced":
                    path.write_bytes(before)
                elif change == "fifo":
                    os.mkfifo(path)
                elif change == "symlink":
                    (tmp_path / "copy").write_bytes(before)
                    path.symlink_to(tmp_path / "copy")
        absent = {number for number, leaf in enumerate(ALL) if leaf.want.path in ("large", "small/7", "middle")}
        right(await harvest(channel, wants(ALL), pool), ALL, absent)
        right(await harvest(channel, wants(ALL[:5]), pool), ALL[:5])
        assert pool.out == 0


@pytest.mark.parametrize("way", ["sendfile", "tls"])
async def test_another_place_is_taken_when_the_first_has_changed(way, tmp_path):
    async with served(tmp_path, way) as (store, channel):
        twin = tmp_path / "twin"
        twin.write_bytes((tmp_path / "data/large").read_bytes())
        rows = [LeafRow(leaf.want.cid.digest, leaf.want.offset, leaf.want.size) for leaf in LARGE]
        store.index.record([FileRecord(str(twin), Signature.of(twin.stat()), None, "c", rows)])
        (tmp_path / "data/large").write_bytes(b"other")
        right(await harvest(channel, wants(LARGE), CountedPool()), LARGE)


@pytest.mark.parametrize("way", ["hash", "tls-hash"])
async def test_damage_that_changes_no_time_is_found_where_blocks_are_hashed(way, tmp_path):
    """The first block of a run is withdrawn with it; later on, only a cut connection can say it."""
    async with served(tmp_path, way) as (_, channel):
        for offset, told in ((0, True), (800_000, False)):
            path = tmp_path / "data/large"
            times = path.stat()
            data = bytearray(path.read_bytes())
            data[offset] ^= 1
            path.write_bytes(data)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
            # ctime moved, which nothing can set back: the index is told so instead
            _forge(tmp_path / "home", path)
            pool = CountedPool()
            if told:
                right(await harvest(channel, wants(LARGE), pool), LARGE, absent=set(range(5)))
            else:
                with pytest.raises(PeerError):
                    await fetch_once(channel, wants(LARGE), pool)
                assert pool.out == 0
            data[offset] ^= 1
            path.write_bytes(data)
            _forge(tmp_path / "home", path)
            right(await harvest(channel, wants(LARGE), pool), LARGE)


def _forge(home, path):
    import sqlite3

    with closing(sqlite3.connect(home / "index.db")) as database:
        signature = Signature.of(path.stat())
        database.execute("UPDATE files SET dev=?, ino=?, size=?, mtime=?, ctime=? WHERE path=?", (*signature, str(path)))
        database.commit()
