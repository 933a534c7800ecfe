"""`get` on a disk that does not take what was written: it ends, and the next run believes nothing that was not synced."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from getting import MIB, A, Slow, beside

from wherry.errors import LocalError
from wherry.safetree import SafeTree
from wherry.testing.faultydisk import FaultyDisk
from wherry.transfer import get
from wherry.transfer.target import hidden_names
from wherry_cli.demo import compare


def lost_on_the_disk(place, at=0):
    """What a kernel does that could not write some pages: it drops them, and the file has its times all the same."""
    times = place.stat()
    with place.open("r+b") as file:
        file.seek(at)
        file.write(bytes(4096))
    os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))


async def test_a_sync_that_fails_ends_the_get_at_once_and_what_was_not_synced_is_hashed(world, large, tmp_path, monkeypatch):
    target, failing, done = tmp_path / "copy", [True], 0
    real = SafeTree.sync

    def sync(tree):
        if failing:
            failing.clear()  # the system tells it once
            while done < 6 * MIB:
                time.sleep(0.01)
            raise LocalError("cannot bring to disk")
        real(tree)

    def observe(event):
        nonlocal done
        done = getattr(event, "bytes_done", done)

    monkeypatch.setattr(SafeTree, "sync", sync)
    monkeypatch.setattr(get, "_SYNC_S", 0.05)
    world.ways[A] = Slow(world.network)
    async with world.shared(large / "long.bin") as cid:
        async with world.node() as session:
            with pytest.raises(LocalError, match="bring to disk"):
                await session.get(cid, sources=[A], output=str(target), observe=observe)
        assert done < 20 * MIB  # of 24
        part = Path(hidden_names(str(target))[0])
        lost_on_the_disk(part, 3 * MIB)
        async with world.node() as session:
            got = await session.get(cid, sources=[A], output=str(target))
    assert target.read_bytes() == (large / "long.bin").read_bytes()
    assert got.fetched_bytes <= 24 * MIB + 5 - done + 2 * MIB  # what is right of it is taken from where it lies


async def test_a_file_that_cannot_be_synced_is_hashed_again(world, large, tmp_path):
    target = tmp_path / "to/copy"
    async with world.shared(large) as cid:
        async with world.node() as session:
            with FaultyDisk(target.parent) as disk:
                disk.fail("fdatasync", errno.EIO)
                with pytest.raises(LocalError, match=r"long\.bin.*Input/output error"):
                    await session.get(cid, sources=[A], output=str(target))
        lost_on_the_disk(Path(hidden_names(str(target))[0]) / "long.bin", 3 * MIB)
        async with world.node() as session:
            await session.get(cid, sources=[A], output=str(target))
    assert list(compare(large, target)) == []


async def test_a_journal_that_somebody_cleared_away_is_no_reason_to_fail(world, large, tmp_path):
    target, journal = tmp_path / "copy", Path(hidden_names(str(tmp_path / "copy"))[1])

    def observe(event):
        journal.unlink(missing_ok=True)

    async with world.shared(large) as cid, world.node() as session:
        await session.get(cid, sources=[A], output=str(target), observe=observe)
        assert [row.path for row in session._store.state.roots()] == [str(target)]
        assert beside(target) == []
