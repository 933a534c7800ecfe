"""A `repair` that does not finish, or cannot read: nothing that was known is lost by it."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import subprocess
import sys
from contextlib import aclosing

import pytest

from wherry.errors import NoSpace
from wherry.session import Encryption, Session
from wherry.store.newindex import NewIndex, left_behind
from wherry.testing.faultydisk import FaultyDisk
from wherry.transfer import hashing, record


async def added(home, *paths):
    async with Session.open(home=home) as session:
        return [(await session.add(str(path))).cid for path in paths]


async def repaired(home, **options):
    async with Session.open(home=home, verb="repair") as session:
        return await session.repair(**options)


async def read(home, what):
    async with Session.open(home=home) as session, aclosing(session.cat(what)) as pieces:
        return b"".join([piece async for piece in pieces])


async def whole(home, cid, tree):
    """Tells whether everything of ``tree`` can be read out of the home."""
    return await read(home, f"{cid}/data/large.bin") == (tree / "data/large.bin").read_bytes()


# not finished


_KILLED = """
import asyncio, os, pathlib, signal, sys
from wherry.session import Session
from wherry.store.newindex import NewIndex

step = getattr(NewIndex, sys.argv[2])

def killed(*arguments, **options):
    if sys.argv[3] == "after":
        step(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(NewIndex, sys.argv[2], killed)

async def main():
    async with Session.open(home=pathlib.Path(sys.argv[1]), environ={}, verb="repair") as session:
        await session.repair()

asyncio.run(main())
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["__init__", "record", "put_in_force", "discard"])
async def test_killed_at_any_step_everything_known_is_there(home, tree, step, when):
    cid, _ = await added(home, tree, tree / "data")
    done = subprocess.run([sys.executable, "-c", _KILLED, str(home), step, when], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert await whole(home, cid, tree)
    found = await repaired(home)
    assert (found.kept, found.dropped, found.missing) == (2, [], [])
    assert left_behind(home) == 0
    assert await whole(home, cid, tree)


async def test_cancelled_everything_known_is_there(home, tree, monkeypatch):
    (cid,) = await added(home, tree)
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    real = hashing.Opened.read

    def reading(self, *arguments):
        loop.call_soon_threadsafe(begun.set)
        return real(self, *arguments)

    monkeypatch.setattr(hashing.Opened, "read", reading)
    running = asyncio.ensure_future(repaired(home))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert left_behind(home) == 0
    assert await whole(home, cid, tree)


@pytest.mark.parametrize("step", ["record", "carry_over", "put_in_force"])
async def test_on_a_full_disk_everything_known_is_there(home, tree, monkeypatch, step):
    """And no root is dropped for what the home's own disk did."""
    cid, gone = await added(home, tree, tree / "data")
    moved = tree.with_name("moved")

    real, failures = getattr(NewIndex, step), [NoSpace("no room")]

    def full(*arguments):
        if failures:  # once: there is room again a moment later
            raise failures.pop()
        return real(*arguments)

    async with Session.open(home=home) as session:
        session._store.state.put_root((await session.roots())[0].cid, str(moved), "add", {})
    with monkeypatch.context() as patched:
        patched.setattr(NewIndex, step, full)
        patched.setattr(record, "_SECONDS_MAX", -1)
        with pytest.raises(NoSpace):
            await repaired(home)
    assert left_behind(home) == 0
    assert await whole(home, cid, tree)
    async with Session.open(home=home) as session:
        assert len(await session.roots()) == 3
        assert (await session.stat(gone)).held


# not read


async def test_a_disk_that_is_not_there_is_not_forgotten(home, tree, tmp_path):
    disk = tmp_path / "disk"
    shutil.copytree(tree, disk / "set", symlinks=True)
    cid, other = await added(home, disk / "set", tree)
    disk.rename(tmp_path / "away")
    found = await repaired(home)
    assert (found.roots, found.kept, found.dropped) == (2, 2, [])
    assert found.missing == [f"{cid} at {disk / 'set'}: No such file or directory"]
    assert found.bytes == sum(path.stat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    assert await whole(home, other, tree)
    (tmp_path / "away").rename(disk)
    assert await whole(home, cid, tree)  # without another repair: what was known of it was kept
    found = await repaired(home)
    assert (found.kept, found.missing) == (2, [])


async def test_what_is_missing_is_dropped_where_that_is_asked_for(home, tree, tmp_path):
    cid, _ = await added(home, tree, tree / "data")
    tree.rename(tmp_path / "away")
    found = await repaired(home, drop_missing=True)
    assert (found.kept, found.missing, len(found.dropped)) == (0, [], 2)
    (tmp_path / "away").rename(tree)
    async with Session.open(home=home) as session:
        assert await session.roots() == []
        assert not (await session.stat(cid)).held


async def test_the_place_where_a_disk_was_mounted_is_empty(home, tree, tmp_path):
    cid, _ = await added(home, tree, "synth://3MiB?seed=1")
    tree.rename(tmp_path / "away")
    tree.mkdir()
    found = await repaired(home)
    assert found.missing == [f"{cid} at {tree}: none of its files is there"]
    assert (found.dropped, found.bytes) == ([], 3 << 20)
    tree.rmdir()
    (tmp_path / "away").rename(tree)
    assert await whole(home, cid, tree)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ENOTCONN])
async def test_what_cannot_be_read_is_missing_and_what_can_is_counted(home, tree, number):
    (cid,) = await added(home, tree)
    size = (tree / "data/large.bin").stat().st_size
    with FaultyDisk(tree / "readme.txt") as disk:
        disk.fail("open", number, times=None)
        found = await repaired(home)
    (missing,) = found.missing
    assert missing.startswith(f"{cid} at {tree}: ")
    assert os.strerror(number) in missing
    assert size <= found.bytes < (await repaired(home)).bytes
    assert await read(home, f"{cid}/readme.txt") == b"hello\n"


async def test_a_link_in_the_place_of_a_file_is_another_file(home, tree):
    (cid,) = await added(home, tree)
    (tree / "readme.txt").rename(tree / "other.txt")
    (tree / "readme.txt").symlink_to("other.txt")
    assert (await repaired(home)).dropped == [f"{cid} at {tree}"]


async def test_what_is_encrypted_and_has_no_key_here_is_missing(home, tree):
    async with Session.open(home=home) as session:
        await session.new_key("team")
        cid = (await session.add(str(tree), encryption=Encryption(key="team"))).cid
    os.rename(home / "keys", home / "away")
    found = await repaired(home)
    (missing,) = found.missing
    assert missing.startswith(f"{cid} at {tree}: ")
    assert (found.dropped, found.files) == ([], 0)
    os.rename(home / "away", home / "keys")
    assert await whole(home, cid, tree)
