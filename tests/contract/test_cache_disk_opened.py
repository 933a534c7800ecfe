"""Opening a disk cache where the disk is full, or where its index was damaged while nobody had it open."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing, contextmanager, suppress

import pytest

from wherry.errors import NoSpace, StoreError
from wherry.testing.cache_use import kept
from wherry.testing.faultydisk import small_disk
from wherry_cache.disk import INSIDE_BYTES_MAX, DiskCache

LARGE = INSIDE_BYTES_MAX + 1
QUOTA = 1 << 30
SMALL = [kept(number, 5000) for number in range(60)]
FILES = [kept(number, LARGE) for number in range(100, 110)]
PAGE = 4096


@contextmanager
def full_disk(tmp_path, *, crashed):
    """A cache on a disk that then became full to the last byte, by something else; gives its folder."""
    with small_disk(tmp_path / "disk", 4 << 20) as disk:
        cache = DiskCache(disk / "cache", QUOTA)
        cache.put_many(SMALL + FILES)
        if crashed:
            cache._index._connection.close()
            cache._files.close()
            orphan = next(path for path in (disk / "cache" / "blocks").rglob("*") if path.name == str(FILES[0].cid))
            os.link(orphan, orphan.parent / "no-block")  # something to be cleared up
        else:
            cache.close()
        with open(disk / "other", "wb", buffering=0) as other:
            for size in (1 << 16, PAGE, 1):
                with suppress(OSError):
                    while True:
                        other.write(bytes(size))
        assert os.statvfs(disk).f_bavail == 0
        yield disk / "cache"


@pytest.mark.parametrize("crashed", [False, True])
def test_a_cache_on_a_full_disk_is_opened_read_and_cleared(tmp_path, crashed):
    blocks = [*SMALL, *FILES]
    with full_disk(tmp_path, crashed=crashed) as folder:
        with closing(DiskCache(folder, QUOTA)) as cache:
            assert cache.get_many([block.cid for block in blocks]) == blocks
            assert cache.usage()[:2] == (len(blocks), sum(len(block.data) for block in blocks))
            with pytest.raises(NoSpace):
                cache.put_many([kept(999, 2 * LARGE)])
            assert not cache._index.crashed()
        with closing(DiskCache(folder, QUOTA)) as cache:
            cache.delete_many(list(cache.cids()))
            assert cache.usage().blocks == 0
            assert os.statvfs(folder).f_bavail * PAGE > sum(len(block.data) for block in FILES)
            cache.put_many([kept(999, 2 * LARGE)])
        with closing(DiskCache(folder, QUOTA)) as cache:
            assert cache.get_many([kept(999, 2 * LARGE).cid]) == [kept(999, 2 * LARGE)]


@pytest.mark.parametrize("crashed", [False, True])
def test_a_lower_quota_is_kept_on_a_full_disk(tmp_path, crashed):
    with full_disk(tmp_path, crashed=crashed) as folder, closing(DiskCache(folder, 3 * LARGE)) as cache:
        assert cache.usage().blocks == 3
        assert cache.get_many([block.cid for block in FILES[-3:]]) == FILES[-3:]


def test_a_crash_that_cannot_be_cleared_up_for_want_of_room_is_when_there_is_some(tmp_path, monkeypatch):
    """Files that the index does not know need rows, and rows need room."""

    def no_room(self):
        problem = sqlite3.OperationalError("database or disk is full")
        problem.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise problem

    with full_disk(tmp_path, crashed=True) as folder:
        with monkeypatch.context() as patched:
            patched.setattr(DiskCache, "_adopt", no_room)
            with closing(DiskCache(folder, QUOTA)) as cache:
                assert cache.get_many([block.cid for block in FILES]) == FILES
        (folder.parent / "other").unlink()
        with closing(DiskCache(folder, QUOTA)) as cache:
            assert cache.get_many([block.cid for block in FILES]) == FILES
            assert not list((folder / "blocks").rglob("no-block"))


@pytest.mark.parametrize("what", ["random", "zeros", "ones", "cut"])
def test_an_index_whose_pages_rotted_is_opened_all_the_same(tmp_path, what):
    """Each page in turn. What is found only when it is read may cost that call an error; the next run has it mended."""
    blocks = {block.cid: block for block in (*SMALL[:12], *FILES[:3])}
    with closing(DiskCache(tmp_path, QUOTA)) as cache:
        cache.put_many(list(blocks.values()))
    index = tmp_path / "index.db"
    whole = index.read_bytes()
    anew = 0
    for at in range(0, len(whole), PAGE):
        page = {"random": random.Random(at).randbytes(PAGE), "zeros": bytes(PAGE), "ones": b"\xff" * PAGE, "cut": b""}[what]
        index.write_bytes(whole[:at] + page + (whole[at + PAGE :] if page else b""))
        with closing(DiskCache(tmp_path, QUOTA)) as cache, suppress(StoreError):
            found = cache.get_many(list(blocks))  # whose bytes core verifies
            assert all(one is None or one.cid == cid for cid, one in zip(blocks, found, strict=True))
            cache.usage()
            list(cache.cids())
        with closing(DiskCache(tmp_path, QUOTA)) as cache:
            held = list(cache.cids())
            found = cache.get_many(held)
            anew += len(held) < len(blocks)
        index.unlink(missing_ok=True)
    assert anew
