"""The disk cache on a disk that fails: typed errors, no wrong bytes, and all well when the disk is."""

from __future__ import annotations

import errno
import random
import sqlite3
from contextlib import closing

import pytest

from wherry.errors import LocalError, NoSpace, StoreError, Unwritable
from wherry.testing.cache_use import coded, kept
from wherry.testing.faultydisk import FaultyDisk, small_disk
from wherry_cache import disk
from wherry_cache.disk import INSIDE_BYTES_MAX, DiskCache

LARGE = INSIDE_BYTES_MAX + 1
QUOTA = 6 * LARGE
BLOCKS = [kept(1), kept(2, LARGE), coded(3, LARGE), kept(4, LARGE), coded(5), kept(6, LARGE), kept(7, 2 * LARGE)]


def steps(cache):
    """What is done to a cache, a call each: puts, hits, misses, evictions, deletions."""
    cids = [block.cid for block in BLOCKS]
    yield lambda: cache.put_many(BLOCKS[:3])
    yield lambda: cache.get_many(cids)
    yield lambda: cache.put_many(BLOCKS[3:5])
    yield lambda: cache.delete_many(cids[1:2])
    yield lambda: cache.put_many(BLOCKS[5:])
    yield lambda: cache.get_many(cids)
    yield lambda: cache.put_many(BLOCKS)
    yield cache.usage


def run(cache):
    """Does all that; errors must be typed, and what is found be right after each step."""
    problems = []
    truth = {block.cid: block for block in BLOCKS}
    for step in steps(cache):
        try:
            step()
        except (NoSpace, Unwritable, StoreError) as problem:
            problems.append(problem)
        try:
            found = cache.get_many(list(truth))
        except (LocalError, StoreError) as problem:
            problems.append(problem)
        else:
            assert all(one in (None, truth[cid]) for cid, one in zip(truth, found, strict=True))
    return problems


def is_well(folder):
    """Opened on a sound disk, it holds what it says, within the quota, and takes blocks."""
    with closing(DiskCache(folder, QUOTA)) as cache:
        run(cache)
        held = list(cache.cids())
        found = cache.get_many(held)
        assert None not in found
        assert cache.usage()[:2] == (len(held), sum(len(one.data) for one in found))
        assert cache.usage().bytes <= QUOTA
        cache.put_many(BLOCKS[:2])
        assert cache.get_many([BLOCKS[1].cid]) == [BLOCKS[1]]
        names = {path.name for path in (folder / "blocks").rglob("*") if path.is_file()}
        large = {one.cid for one in cache.get_many(list(cache.cids())) if len(one.data) > INSIDE_BYTES_MAX}
        assert {name.partition(".")[0] for name in names} == {str(cid) for cid in large}
        assert list((folder / "tmp").iterdir()) == []


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """How often each call is made when nothing fails."""
    folder = tmp_path_factory.mktemp("calls")
    with FaultyDisk(folder) as disk, closing(DiskCache(folder, QUOTA)) as cache:
        assert run(cache) == []
    return disk.calls


FAULTS = [
    *((call, errno.ENOSPC, False) for call in ("open", "write", "mkdir", "rename")),
    *((call, errno.EIO, False) for call in ("open", "read", "write", "rename", "unlink", "stat", "fstat")),
    ("write", errno.ENOSPC, True),
    ("write", errno.EIO, True),
]


@pytest.mark.parametrize(("call", "error", "torn"), FAULTS)
def test_whatever_fails_once_nothing_wrong_is_given_and_all_is_well_again(tmp_path, calls, call, error, torn):
    points = range(1, calls[call] + 1)
    assert points
    failed = 0
    for at in random.Random(1).sample(points, min(len(points), 6)):
        folder = tmp_path / str(at)
        folder.mkdir()
        with FaultyDisk(folder) as disk:
            disk.fail(call, error, at=at, torn=torn)
            try:
                cache = DiskCache(folder, QUOTA)
            except (NoSpace, Unwritable, StoreError):
                pass
            else:
                run(cache)
                cache.close()
            failed += disk.failed
        is_well(folder)
    assert failed


@pytest.mark.parametrize(("call", "error"), [("write", errno.ENOSPC), ("open", errno.EIO), ("rename", errno.ENOSPC)])
def test_a_disk_that_takes_no_more_still_gives_what_it_has(tmp_path, call, error):
    with FaultyDisk(tmp_path) as disk, closing(DiskCache(tmp_path, QUOTA)) as cache:
        small = BLOCKS[0]
        cache.put_many([small])
        disk.fail(call, error, times=None)
        with pytest.raises(NoSpace if error == errno.ENOSPC else Unwritable):
            cache.put_many([BLOCKS[1]])
        assert cache.get_many([small.cid]) == [small]
        assert cache.has_many([BLOCKS[1].cid]) == [False]
        disk.heal()
        cache.put_many([BLOCKS[1]])
        assert cache.get_many([BLOCKS[1].cid]) == [BLOCKS[1]]


def test_a_block_that_cannot_be_read_is_a_miss_and_forgotten(tmp_path):
    with FaultyDisk(tmp_path) as disk, closing(DiskCache(tmp_path, QUOTA)) as cache:
        cache.put_many([BLOCKS[1]])
        disk.fail("read", errno.EIO, times=None)
        assert cache.get_many([BLOCKS[1].cid]) == [None]


class FaultyConnection:
    """A connection to the database that fails at one statement, as SQLite says when the disk does."""

    def __init__(self, connection, at, code):
        self.connection, self.at, self.code, self.count = connection, at, code, 0

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def _step(self):
        self.count += 1
        if self.count == self.at:
            problem = sqlite3.OperationalError("disk")
            problem.sqlite_errorcode = self.code
            raise problem

    def execute(self, *given):
        self._step()
        return self.connection.execute(*given)

    def executemany(self, *given):
        self._step()
        return self.connection.executemany(*given)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY])
def test_whatever_statement_of_the_index_fails(tmp_path, code):
    met = 0
    for at in range(1, 70, 4):
        folder = tmp_path / str(at)
        folder.mkdir()
        with closing(DiskCache(folder, QUOTA)) as cache:
            faulty = cache._index._connection = FaultyConnection(cache._index._connection, at, code)
            met += len(run(cache))
            assert faulty.count > at
        is_well(folder)
    assert met


@pytest.mark.parametrize("size", [5000, 3 * LARGE])
def test_a_disk_that_is_really_full(tmp_path, size):
    with small_disk(tmp_path / "disk", 2 << 20) as folder:
        with closing(DiskCache(folder, 1 << 30)) as cache:
            with pytest.raises((NoSpace, Unwritable)) as caught:
                fill(cache, size)
            assert caught.value.hint
            held = list(cache.cids())
            assert held
            assert all(one in (None, kept(number, size)) for number, one in enumerate(cache.get_many(numbers(held, size))))
            cache.delete_many(held[: len(held) // 2])
            cache.put_many([kept(9999, size)])
            assert cache.get_many([kept(9999, size).cid]) == [kept(9999, size)]
        with closing(DiskCache(folder, 1 << 30)) as cache:
            assert cache.get_many([kept(9999, size).cid]) == [kept(9999, size)]


def fill(cache, size):
    for number in range(2000):
        cache.put_many([kept(number, size)])


def numbers(held, size):
    """The CIDs of the blocks from 0 on, as many as are held."""
    return [kept(number, size).cid for number in range(len(held))]


@pytest.mark.parametrize("size", [5000, 3 * LARGE])
def test_room_is_left_on_a_small_disk(tmp_path, size):
    """Two thirds are to stay free: it forgets instead of filling the disk, and never raises."""
    with small_disk(tmp_path / "disk", 6 << 20) as folder, closing(DiskCache(folder, 1 << 30, min_free=4 << 20)) as cache:
        for number in range(900 if size < LARGE else 60):
            cache.put_many([kept(number, size)])
            slack = 512 << 10  # the database and its journal grow by pages besides
            assert cache._files.free() >= (4 << 20) - slack
        assert cache.usage().evictions > 0
        assert cache.usage().bytes > 500_000


def test_what_is_remembered_of_hits_stays_small_while_the_disk_takes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "USES_MAX", 8)
    tries = []

    def full(_index, *_args, **_options):
        tries.append(1)
        raise sqlite3.OperationalError("database or disk is full")

    blocks = [kept(number) for number in range(40)]
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        cache.put_many(blocks)
        with monkeypatch.context() as broken:
            broken.setattr("wherry_cache.index.Index.touch", full)
            for block in blocks:
                assert cache.get_many([block.cid]) == [block]
                assert len(cache._used) < 8
            assert len(tries) == 9  # at the eighth hit, and with each fourth from then on
        assert list(cache._used) == [block.cid for block in blocks[-len(cache._used) :]]  # the newest
        cache.get_many([block.cid for block in blocks])
        assert not cache._used  # the disk takes writes again
