"""The disk cache keeps the contract of caches, and what is its own: crashes, damage, processes, full disks."""

from __future__ import annotations

import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing

import pytest

from wherry.cid import CID, RAW
from wherry.errors import NoSpace, StoreError, Unwritable
from wherry.testing.cache import SharedCacheContract
from wherry.testing.cache_use import coded, kept
from wherry_cache import disk
from wherry_cache.disk import INSIDE_BYTES_MAX, DiskCache

pytestmark = pytest.mark.uncounted  # coverage would double its time, and adds few lines

LARGE = INSIDE_BYTES_MAX + 1


class TestDiskCache(SharedCacheContract):
    def make_cache(self, folder, max_bytes):
        return DiskCache(folder, max_bytes)

    def make_expiring(self, folder, max_bytes, ttl, clock):
        return DiskCache(folder, max_bytes, ttl=ttl, clock=clock)


class TestDiskCacheThatResistsScans(SharedCacheContract):
    def make_cache(self, folder, max_bytes):
        return DiskCache(folder, max_bytes, eviction="2q")

    def make_expiring(self, folder, max_bytes, ttl, clock):
        return DiskCache(folder, max_bytes, ttl=ttl, eviction="2q", clock=clock)


def files(folder):
    return sorted(path.name for path in (folder / "blocks").rglob("*") if path.is_file())


def test_small_blocks_lie_inside_and_large_ones_in_files(tmp_path):
    small, large = kept(1, INSIDE_BYTES_MAX), kept(2, LARGE)
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        cache.put_many([small, large])
        assert files(tmp_path) == [str(large.cid)]
        assert (tmp_path / "blocks" / large.cid.digest[:1].hex() / str(large.cid)).read_bytes() == large.data
        assert list((tmp_path / "tmp").iterdir()) == []
        cache.delete_many([small.cid, large.cid])
        assert files(tmp_path) == []


def test_forgotten_blocks_leave_no_file(tmp_path):
    with closing(DiskCache(tmp_path, 4 * LARGE)) as cache:
        for number in range(20):
            cache.put_many([kept(number, LARGE)])
        assert files(tmp_path) == sorted(str(cid) for cid in cache.cids())
        assert cache.usage().evictions == 16


def test_nobody_else_may_look(tmp_path):
    folder = tmp_path / "cache"
    with closing(DiskCache(folder, 1 << 20)) as cache:
        cache.put_many([kept(1, LARGE)])
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(next((folder / "blocks").rglob("baf*")).stat().st_mode) == 0o600


def test_a_hit_writes_nothing(tmp_path):
    block = kept(1)
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        cache.put_many([block])
        before = (tmp_path / "index.db").stat().st_mtime_ns
        time.sleep(0.02)
        for _ in range(disk.USES_MAX * 2):
            cache.get_many([block.cid])
        assert (tmp_path / "index.db").stat().st_mtime_ns == before


def test_many_hits_are_written_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "USES_MAX", 4)
    first, second, third, fourth = (kept(number) for number in range(4))
    with closing(DiskCache(tmp_path, 3000)) as reader, closing(DiskCache(tmp_path, 3000)) as writer:
        writer.put_many([first, second, third])
        reader.get_many([first.cid, second.cid, first.cid, third.cid])  # three: not written yet
        reader.get_many([kept(9).cid, first.cid])
        reader.get_many([second.cid])
        reader._used[CID.of(RAW, b"gone since")] = time.time()  # the fourth, and it does not exist
        reader.get_many([second.cid])
        writer.put_many([fourth])
        assert writer.has_many([third.cid, first.cid, second.cid]) == [False, True, True]


def test_a_lost_file_is_a_miss_and_no_longer_counted(tmp_path):
    blocks = [kept(number, LARGE) for number in range(3)]
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        cache.put_many(blocks)
        names = {path.name: path for path in (tmp_path / "blocks").rglob("baf*")}
        names[str(blocks[0].cid)].unlink()
        names[str(blocks[1].cid)].write_bytes(b"short")
        assert cache.get_many([cid for cid, *_ in blocks]) == [None, None, blocks[2]]
        assert cache.usage().bytes == LARGE
        assert files(tmp_path) == [str(blocks[2].cid)]
        cache.put_many(blocks)
        assert cache.get_many([cid for cid, *_ in blocks]) == blocks


CRASH = """
import os, sys
from pathlib import Path
from wherry.testing.cache_use import kept
from wherry_cache.disk import DiskCache
from wherry_cache.files import BlockFiles

where = sys.argv[2]
def die(*_): os._exit(9)
cache = DiskCache(Path(sys.argv[1]), 1 << 20)
cache.put_many([kept(1, 100_000)])
if where == "before-name": BlockFiles.place = die
if where == "after-name":
    place = BlockFiles.place
    def placed(*a): place(*a); die()
    BlockFiles.place = placed
if where == "after-remove":
    remove = BlockFiles.remove
    def removed(*a): remove(*a); die()
    BlockFiles.remove = removed
cache.put_many([kept(n, 340_000) for n in (2, 3, 4)] if where == "after-remove" else [kept(2, 100_000)])
die()
"""


def crash(folder, where):
    done = subprocess.run([sys.executable, "-c", CRASH, str(folder), where], check=False, timeout=30)
    assert done.returncode == 9


@pytest.mark.parametrize("where", ["before-name", "after-name", "after-remove", "after-all"])
def test_what_a_crash_left_is_cleared_up(tmp_path, where):
    crash(tmp_path, where)
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        held = sorted(cache.cids())
        assert files(tmp_path) == [str(cid) for cid in sorted(held, key=str)]
        assert list((tmp_path / "tmp").iterdir()) == []
        assert cache.usage().blocks == len(held)
        assert cache.usage().bytes == sum(len(one.data) for one in cache.get_many(held))
        expected = {"before-name": {1}, "after-name": {1, 2}, "after-remove": set(), "after-all": {1, 2}}[where]
        assert set(held) == {kept(number, 100_000).cid for number in expected}


def test_files_that_are_no_blocks_are_removed_after_a_crash(tmp_path):
    crash(tmp_path, "after-all")
    stray = tmp_path / "blocks" / "ab" / "not-a-cid"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"x")
    DiskCache(tmp_path, 1 << 20).close()
    assert not stray.exists()


def test_nothing_is_cleared_up_under_somebody(tmp_path):
    crash(tmp_path, "before-name")
    with closing(DiskCache(tmp_path, 1 << 20)) as one:
        aside = one._files.write(b"being written")
        with closing(DiskCache(tmp_path, 1 << 20)):
            assert aside.exists()


@pytest.mark.parametrize("damage", ["no database", "other format", "no table", "torn", "no text", "no schema"])
def test_a_damaged_index_is_made_anew_from_the_files(tmp_path, damage):
    small, large = kept(1), kept(2, LARGE)
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        cache.put_many([small, large])
    index = tmp_path / "index.db"
    if damage == "no database":
        index.write_bytes(b"this is no database at all" * 100)
    elif damage == "torn":
        index.write_bytes(index.read_bytes()[:100] + random.Random(3).randbytes(8192))
    elif damage == "no schema":
        index.write_bytes(index.read_bytes().replace(b"CREATE TABLE small (i", b"CREATE TABLE small \xff\xfc"))
    elif damage == "no text":
        with closing(sqlite3.connect(index)) as connection:
            connection.execute("UPDATE blocks SET coding = CAST(x'FF41' AS TEXT)")
            connection.commit()
    else:
        with closing(sqlite3.connect(index)) as connection:
            connection.execute("PRAGMA user_version = 99" if damage == "other format" else "DROP TABLE totals")
            connection.commit()
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        assert cache.get_many([small.cid, large.cid]) == [None, large]
        assert cache.usage()[:2] == (1, LARGE)
        assert not (tmp_path / "damaged").exists()


def test_an_index_damaged_in_use_is_an_error_and_then_anew(tmp_path):
    large = kept(2, LARGE)
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        cache.put_many([large])
        with closing(sqlite3.connect(tmp_path / "index.db")) as other:
            other.execute("DROP TABLE blocks")
            other.commit()
        with pytest.raises(StoreError, match="cache"):
            cache.get_many([large.cid])
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        assert cache.get_many([large.cid]) == [large]


PUTS = """
import sys
from pathlib import Path
from wherry.testing.cache_use import use
from wherry_cache.disk import DiskCache
cache = DiskCache(Path(sys.argv[1]), 40_000)
for seed in range(3): use(cache, int(sys.argv[2]) + seed, 40_000)
assert cache.usage().bytes <= 40_000
cache.close()
"""


def test_processes_share_it(tmp_path):
    workers = [subprocess.Popen([sys.executable, "-c", PUTS, str(tmp_path), str(10 * n)]) for n in range(3)]
    assert [worker.wait(timeout=50) for worker in workers] == [0, 0, 0]
    with closing(DiskCache(tmp_path, 40_000)) as cache:
        held = list(cache.cids())
        data = cache.get_many(held)
        assert [CID.of(RAW, one.data) for one in data] == held
        assert (len(data), sum(len(one.data) for one in data)) == cache.usage()[:2]


CODED = [coded(200 + number, 80_000) for number in range(20)]
KILLED = """
import sys
from pathlib import Path
from wherry.testing.cache_use import coded, kept
from wherry_cache.disk import DiskCache
cache = DiskCache(Path(sys.argv[1]), 2_000_000, eviction=sys.argv[2])
print("ready", flush=True)
n = 0
while True:
    cache.put_many([kept(n % 90, 1000 + 70_000 * (n % 2)), kept((n + 1) % 90, 1000), coded(200 + n % 20, 80_000)])
    cache.get_many([kept(n % 50).cid])
    cache.delete_many([kept((n + 50) % 90, 1000).cid])
    n += 1
"""


@pytest.mark.parametrize("eviction", ["lru", "2q"])
def test_killed_at_any_moment_it_opens_clean(tmp_path, eviction):
    moments = random.Random(5)
    for _ in range(8):
        worker = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), eviction], stdout=subprocess.PIPE)
        assert worker.stdout.readline() == b"ready\n"
        time.sleep(moments.uniform(0.0, 0.15))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        worker.stdout.close()
        with closing(DiskCache(tmp_path, 2_000_000)) as cache:
            held = list(cache.cids())
            data = cache.get_many(held)
            for one in data:
                assert one in CODED if one.coding else CID.of(RAW, one.data) == one.cid
            assert cache.usage()[:2] == (len(held), sum(len(one.data) for one in data))
            assert cache.usage().bytes <= 2_000_000
            names = [f"{one.cid}.{one.size}.{one.coding}" if one.coding else str(one.cid) for one in data]
            assert files(tmp_path) == sorted(
                name for name, one in zip(names, data, strict=True) if len(one.data) > INSIDE_BYTES_MAX
            )


@pytest.mark.parametrize("size", [1000, 300_000])
def test_a_full_disk_is_no_space_and_passes(tmp_path, size):
    """A limit on the size of files stands in for a full disk; it meets the database as well as the blocks' files."""
    code = f"""
import resource, signal, sys
from pathlib import Path
from wherry.errors import NoSpace, Unwritable
from wherry.testing.cache_use import kept
from wherry_cache.disk import DiskCache
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
cache = DiskCache(Path(sys.argv[1]), 1 << 30)
cache.put_many([kept(1000, {size})])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
try:
    for n in range(400):
        cache.put_many([kept(n, {size})])
except (NoSpace, Unwritable) as problem:
    print(problem)
else:
    sys.exit("no error")
assert cache.get_many([kept(1000, {size}).cid]) == [kept(1000, {size})]
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
cache.put_many([kept(2000, {size})])
assert cache.has_many([kept(2000, {size}).cid]) == [True]
cache.close()
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=50, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "hint" in done.stdout
    with closing(DiskCache(tmp_path, 1 << 30)) as cache:
        assert list((tmp_path / "tmp").iterdir()) == []
        held = list(cache.cids())
        assert [CID.of(RAW, one.data) for one in cache.get_many(held)] == held


def test_errors_have_their_types(tmp_path, monkeypatch):
    with closing(DiskCache(tmp_path, 1 << 30)) as cache:
        full = OSError(28, "No space left on device")
        monkeypatch.setattr(cache._files, "write", lambda data: (_ for _ in ()).throw(full))
        with pytest.raises(NoSpace):
            cache.put_many([kept(1, LARGE)])
        assert cache.usage().blocks == 0


def test_a_place_that_cannot_be_a_cache(tmp_path):
    place = tmp_path / "file"
    place.write_bytes(b"")
    with pytest.raises(Unwritable):
        DiskCache(place, 1 << 20)


def test_memory_is_bounded(tmp_path):
    """300 MB go through a cache of 64 MB: the process grows by no more than a few batches."""
    code = """
import resource, sys
from pathlib import Path
from wherry.abc.cache import Kept
from wherry.block import named
from wherry.cid import RAW
from wherry_cache.disk import DiskCache
cache = DiskCache(Path(sys.argv[1]), 64 << 20)
def plain(data): return Kept(named(RAW, data).cid, data, len(data))
def fill(steps, start):
    for n in range(start, start + steps):
        cache.put_many([plain(n.to_bytes(4, "big") * (1 << 12)) for n in range(n * 100, n * 100 + 16)])
        cache.put_many([plain(n.to_bytes(4, "big") * (1 << 18))])
        for cid in cache.cids(): pass
fill(20, 0)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fill(230, 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
cache.close()
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=55, capture_output=True, text=True)
    assert int(done.stdout) < 8 * 1024  # KiB
