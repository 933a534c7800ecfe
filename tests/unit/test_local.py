"""Local sources: blocks of the store, files that lie about, one block in memory."""

from __future__ import annotations

import os
import random

import pytest

from wherry.abc.transport import Want
from wherry.block import Block
from wherry.buffers import PAGE, ROOM
from wherry.cid import CID, RAW
from wherry.errors import WherryError
from wherry.testing.blocks import CountedPool, MemorySource, fetch_once
from wherry.transfer import local
from wherry.transfer.local import FilesChannel, HeldChannel, KnownChannel

MIB = 1 << 20


def want(data, path="", offset=0):
    return Want(CID.of(RAW, data), len(data), path, offset)


@pytest.fixture
def pool():
    return CountedPool(8 * MIB)


@pytest.fixture
def root(tmp_path):
    rng = random.Random(1)
    (tmp_path / "root/dir").mkdir(parents=True)
    (tmp_path / "root/dir/file").write_bytes(rng.randbytes(3 * MIB))
    (tmp_path / "root/other").write_bytes(b"other")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "root/link").symlink_to("../secret")
    (tmp_path / "root/out").symlink_to("..")
    os.mkfifo(tmp_path / "root/fifo")
    return tmp_path / "root"


@pytest.fixture
def channel(root):
    opened = FilesChannel(str(root))
    yield opened
    opened.close()


async def test_leaves_are_read_from_where_they_would_lie(channel, root, pool):
    data = (root / "dir/file").read_bytes()
    wants = [want(data[at : at + MIB], "dir/file", at) for at in range(0, 3 * MIB, MIB)] + [want(b"other", "other")]
    found = await fetch_once(channel, wants, pool)
    assert (len(found.blocks), found.missing, found.faults) == (4, set(), [])
    assert found.laid[0][0] == (0, ROOM, ROOM + MIB)  # back to back, aligned
    assert pool.out == 0


@pytest.mark.parametrize("path", ["missing", "dir", "fifo", "link", "out/secret", "dir/file/x", ""])
async def test_what_cannot_be_read_is_missing(channel, pool, path):
    found = await fetch_once(channel, [want(b"secret", path), want(b"other", "other")], pool)
    assert found.missing == {0}
    assert found.blocks == {1: b"other"}


async def test_what_is_shorter_or_of_unknown_size_is_missing(channel, pool):
    wants = [want(b"other and more", "other"), Want(CID.of(RAW, b"other")), want(b"other", "other", 3)]
    assert (await fetch_once(channel, wants, pool)).missing == {0, 1, 2}


async def test_what_is_something_else_is_rejected(channel, pool):
    found = await fetch_once(channel, [want(b"oTher", "other")], pool)
    assert (found.rejected, found.blocks) == ({0}, {})


async def test_one_file_is_the_dataset(root, pool):
    channel = FilesChannel(str(root / "other"))
    try:
        found = await fetch_once(channel, [want(b"other"), want(b"other", "other")], pool)
        assert (found.blocks, found.missing) == ({0: b"other"}, {1})
    finally:
        channel.close()


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(WherryError):
        FilesChannel(str(tmp_path / "no/where"))


async def test_blocks_of_a_store(pool):
    blocks = [bytes([number]) * (1000 + number) for number in range(5)]
    source = MemorySource({CID.of(RAW, data): data for data in blocks[:4]})
    source.gone.add(CID.of(RAW, blocks[2]))
    wants = [want(data) for data in blocks]
    wants[3] = wants[3]._replace(size=999)
    found = await fetch_once(HeldChannel(source), wants, pool)
    assert (set(found.blocks), found.missing) == ({0, 1}, {2, 3, 4})


async def test_what_does_not_fit_into_a_buffer_is_left_for_the_next_time(pool):
    blocks = [bytes([number]) * 3 * MIB for number in range(3)]
    source = MemorySource({CID.of(RAW, data): data for data in blocks})
    found = await fetch_once(HeldChannel(source), [Want(CID.of(RAW, data)) for data in blocks], pool)
    assert (set(found.blocks), found.left_out) == ({0}, {1, 2})


async def test_a_block_that_is_known(pool):
    known = KnownChannel({CID.of(RAW, b"leaf"): Block(CID.of(RAW, b"leaf"), b"leaf")}.get)
    found = await fetch_once(known, [want(b"leaf"), want(b"other")], pool)
    assert (found.blocks, found.missing) == ({0: b"leaf"}, {1})
    assert pool.out == 0


async def test_a_buffer_comes_back_when_reading_fails(pool, channel, monkeypatch):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(FilesChannel, "_read", broken)
    with pytest.raises(RuntimeError):
        await fetch_once(channel, [want(b"other", "other")], pool)
    assert pool.out == 0


async def test_what_a_disk_may_not_have_is_read_from_the_disk(root, pool, monkeypatch):
    """After a failed sync the system still shows what it could not write: it must forget that before the bytes are hashed."""
    dropped, order = [], []
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, at, size, how: dropped.append((at, size, how)))
    real = local.read_exactly
    monkeypatch.setattr(local, "read_exactly", lambda *given: (order.append(len(dropped)), real(*given)))
    data = (root / "dir/file").read_bytes()
    wants = [want(data[at : at + 100], "dir/file", at) for at in (0, PAGE + 1, 2 * PAGE - 10)]
    for afresh in (False, True):
        channel = FilesChannel(str(root), afresh=afresh)
        found = await fetch_once(channel, wants, pool)
        channel.close()
        assert len(found.blocks) == 3
    assert dropped == [(at, size, os.POSIX_FADV_DONTNEED) for at, size in ((0, PAGE), (PAGE, PAGE), (PAGE, 2 * PAGE))]
    assert order == [0, 0, 0, 1, 2, 3]  # each before it is read
