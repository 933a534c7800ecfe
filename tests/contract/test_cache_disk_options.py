"""What the disk cache does by its options, with coded blocks, and with an index of an earlier format."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from wherry.abc.cache import Kept
from wherry.errors import StoreError
from wherry.testing.cache_use import BLOCK_BYTES, VirtualClock, coded, kept
from wherry_cache.disk import INSIDE_BYTES_MAX, DiskCache

LARGE = INSIDE_BYTES_MAX + 1

FORMAT_1 = """
PRAGMA journal_mode=TRUNCATE;
CREATE TABLE blocks (id INTEGER PRIMARY KEY, cid BLOB NOT NULL UNIQUE, size INTEGER, used INTEGER, inside INTEGER);
CREATE INDEX blocks_used ON blocks (used);
CREATE TABLE small (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE totals (blocks INTEGER NOT NULL, bytes INTEGER NOT NULL, clock INTEGER NOT NULL);
CREATE TABLE writers (token BLOB PRIMARY KEY);
PRAGMA user_version = 1;
"""


def as_of_format_1(folder):
    """Makes the folder of a cache as version 1 left it: two small blocks, and a large one in a file."""
    first, second, large = kept(1), kept(2), kept(3, LARGE)
    with closing(DiskCache(folder, 1 << 20)) as cache:
        cache.put_many([large])  # the names of plain files are the same
    (folder / "index.db").unlink()
    with closing(sqlite3.connect(folder / "index.db")) as index:
        index.executescript(FORMAT_1)
        for number, block in enumerate((second, large, first), start=1):
            inside = block is not large
            row = (number, bytes(block.cid), block.size, number, inside)
            index.execute("INSERT INTO blocks VALUES (?, ?, ?, ?, ?)", row)
            if inside:
                index.execute("INSERT INTO small VALUES (?, ?)", (number, block.data))
        index.execute("INSERT INTO totals VALUES (3, ?, 3)", (2 * BLOCK_BYTES + LARGE,))
        index.commit()
    return first, second, large


def test_an_index_of_format_1_is_read_on(tmp_path):
    first, second, large = as_of_format_1(tmp_path)
    clock = VirtualClock()
    with closing(DiskCache(tmp_path, 2 * BLOCK_BYTES + LARGE, ttl=100, clock=clock)) as cache:
        assert cache.usage()[:2] == (3, 2 * BLOCK_BYTES + LARGE)
        assert cache.sizes([first.cid, large.cid]) == [BLOCK_BYTES, LARGE]
        cache.put_many([coded(9)])
        assert cache.has_many([second.cid, large.cid, first.cid, coded(9).cid]) == [False, True, True, True]  # in order of use
        assert cache.get_many([first.cid, large.cid, coded(9).cid]) == [first, large, coded(9)]
    with closing(DiskCache(tmp_path, 1 << 20, ttl=100, clock=clock)) as cache:
        assert cache.get_many([first.cid]) == [first]


@pytest.mark.parametrize("eviction", ["lru", "2q"])
def test_two_may_read_on_an_index_of_format_1(tmp_path, eviction):
    first, second, large = as_of_format_1(tmp_path)
    with closing(DiskCache(tmp_path, 1 << 20)) as one, closing(DiskCache(tmp_path, 1 << 20, eviction=eviction)) as two:
        blocks = [first, second, large]
        assert one.get_many([block.cid for block in blocks]) == two.get_many([block.cid for block in blocks]) == blocks


def test_an_index_of_a_later_format_is_begun_anew(tmp_path):
    large = kept(3, LARGE)
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        cache.put_many([kept(1), large])
    with closing(sqlite3.connect(tmp_path / "index.db")) as index:
        index.execute("PRAGMA user_version = 3")
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        assert cache.get_many([kept(1).cid, large.cid]) == [None, large]


# Coded blocks


def files_of(folder):
    return [path for path in (folder / "blocks").rglob("*") if path.is_file()]


def files(folder):
    return sorted(path.name for path in files_of(folder))


def test_the_file_of_a_coded_block_says_how(tmp_path):
    block = coded(1, LARGE)
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        cache.put_many([block])
        assert files(tmp_path) == [f"{block.cid}.{block.size}.acme.coding-9"]
        cache.put_many([Kept(block.cid, kept(1, LARGE).data, LARGE)])  # held already: it stays as it is
        assert cache.get_many([block.cid]) == [block]
        assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("name", ["zstd", "acme.fast-2", "zstd+0a1b2c"])
def test_every_name_that_codings_have_can_name_a_file(tmp_path, name):
    block = coded(1, LARGE)._replace(coding=name)
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        cache.put_many([block])
        assert files(tmp_path) == [f"{block.cid}.{block.size}.{name}"]
    (tmp_path / "index.db").write_bytes(b"rubbish" * 1000)
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        assert cache.get_many([block.cid]) == [block]


def test_without_the_index_coded_files_are_taken_in_again(tmp_path):
    blocks = [coded(1, LARGE), kept(2, LARGE)]
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        cache.put_many(blocks)
    other = tmp_path / "blocks" / blocks[1].cid.digest[:1].hex() / f"{blocks[1].cid}.77.zstd"
    other.write_bytes(b"the same block in another form")
    (tmp_path / "index.db").write_bytes(b"rubbish" * 1000)
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        held = list(cache.cids())
        assert sorted(held) == sorted(block.cid for block in blocks)
        assert cache.get_many([blocks[0].cid]) == [blocks[0]]
        assert len(files(tmp_path)) == 2
        assert cache.usage().bytes == sum(path.stat().st_size for path in files_of(tmp_path))


@pytest.mark.parametrize("name", ["../../evil", "x/y", "A" * 300, "a b", "zstd\0"])
def test_a_coding_that_cannot_name_a_file_lies_in_the_database(tmp_path, name):
    block = coded(1, LARGE)._replace(coding=name)
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        cache.put_many([block])
        assert files(tmp_path) == []
        assert cache.get_many([block.cid]) == [block]


@pytest.mark.parametrize(("column", "value"), [("size", "text"), ("bytes", None), ("coding", b"\xff"), ("at", "never")])
def test_a_row_that_rotted_is_a_damaged_index(tmp_path, column, value):
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        cache.put_many([kept(1)])
        with closing(sqlite3.connect(tmp_path / "index.db")) as index:
            index.execute(f"UPDATE blocks SET {column} = ?", (value,))
            index.commit()
        with pytest.raises(StoreError):
            cache.get_many([kept(1).cid])
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        assert cache.get_many([kept(1).cid]) == [None]


def test_a_length_that_rotted_takes_no_memory(tmp_path):
    block = kept(1, LARGE)
    with closing(DiskCache(tmp_path, 1 << 20)) as cache:
        cache.put_many([block])
        with closing(sqlite3.connect(tmp_path / "index.db")) as index:
            index.execute("UPDATE blocks SET bytes = 1 << 60")
            index.commit()
        assert cache.get_many([block.cid]) == [None]


# Options


def test_use_in_one_process_counts_in_the_next(tmp_path):
    clock = VirtualClock()
    with closing(DiskCache(tmp_path, 1 << 20, ttl=100, clock=clock)) as cache:
        cache.put_many([kept(1), kept(2)])
        clock.now += 90
        cache.get_many([kept(1).cid])
    clock.now += 90
    with closing(DiskCache(tmp_path, 1 << 20, ttl=100, clock=clock)) as cache:
        assert cache.has_many([kept(1).cid, kept(2).cid]) == [True, False]
        cache.put_many([kept(3)])
        assert len(cache._index.find([kept(1).cid, kept(2).cid])) == 1  # gone, not only hidden


def test_a_clock_that_was_wrong_keeps_nothing_for_ever(tmp_path):
    clock = VirtualClock()
    clock.now += 1e9
    with closing(DiskCache(tmp_path, 1 << 20, ttl=100, clock=clock)) as cache:
        cache.put_many([kept(1)])
    clock.now -= 1e9
    with closing(DiskCache(tmp_path, 1 << 20, ttl=100, clock=clock)) as cache:
        assert cache.has_many([kept(1).cid]) == [False]
        assert cache.usage().blocks == 0


def test_many_that_expired_go_at_once(tmp_path):
    clock = VirtualClock()
    with closing(DiskCache(tmp_path, 10 << 20, ttl=100, clock=clock)) as cache:
        cache.put_many([kept(number, 10) for number in range(1000)])
        clock.now += 101
        cache.put_many([kept(2000, 10)])
        assert cache.usage()[:2] == (1, 10)
        assert cache.usage().evictions == 0


@pytest.mark.parametrize(("first", "then"), [("lru", "2q"), ("2q", "lru")])
def test_the_rule_may_change_over_the_same_folder(tmp_path, first, then):
    quota = 8 * BLOCK_BYTES
    blocks = [kept(number) for number in range(8)]
    with closing(DiskCache(tmp_path, quota, eviction=first)) as cache:
        cache.put_many(blocks)
        cache.get_many([block.cid for block in blocks[:4]])
    with closing(DiskCache(tmp_path, quota, eviction=then)) as cache:
        cache.put_many([kept(number) for number in range(100, 104)])
        assert cache.has_many([block.cid for block in blocks]) == [True] * 4 + [False] * 4
        cache.put_many([kept(number) for number in range(200, 208)])
        assert cache.usage()[:2] == (8, quota)


def test_a_scan_does_not_sweep_away_what_is_used_again(tmp_path):
    def left(eviction):
        with closing(DiskCache(tmp_path / eviction, 8 * BLOCK_BYTES, eviction=eviction)) as cache:
            again = [kept(number) for number in range(4)]
            cids = [block.cid for block in again]
            cache.put_many(again)
            cache.get_many(cids)
            for number in range(100, 140):
                cache.put_many([kept(number)])
            return sum(cache.has_many(cids))

    assert (left("2q"), left("lru")) == (4, 0)


def test_what_is_used_again_goes_when_there_is_more_of_it_than_fits(tmp_path):
    with closing(DiskCache(tmp_path, 8 * BLOCK_BYTES, eviction="2q")) as cache:
        blocks = [kept(number) for number in range(20)]
        for block in blocks:
            cache.put_many([block])
            cache.get_many([block.cid])
        cache.put_many([])
        assert cache.usage().bytes <= 8 * BLOCK_BYTES
        assert cache.has_many([blocks[0].cid, blocks[-1].cid]) == [False, True]
        assert cache._index.totals().often <= 8 * BLOCK_BYTES


def test_a_nearly_full_disk_gets_its_room_back(tmp_path, monkeypatch):
    """``free`` is told by the test: 10 MB less what the cache has in files."""
    with closing(DiskCache(tmp_path, 1 << 30, min_free=9_000_000)) as cache:

        def used():
            return sum(path.stat().st_size for path in files_of(tmp_path))

        monkeypatch.setattr(cache._files, "free", lambda: 10_000_000 - used())
        for number in range(40):
            cache.put_many([kept(number, LARGE)])
            assert used() <= 1_000_000
        assert used() > 800_000
        assert cache.has_many([kept(39, LARGE).cid, kept(0, LARGE).cid]) == [True, False]
        monkeypatch.setattr(cache._files, "free", lambda: 1000)  # others fill the disk: it gives up what it has
        cache.put_many([kept(99, LARGE)])
        assert cache.usage().blocks == 0


def test_an_emptied_cache_gives_the_disk_back(tmp_path):
    with closing(DiskCache(tmp_path, 1 << 30)) as cache:
        cache.put_many([kept(number, 5000) for number in range(500)])
        full = (tmp_path / "index.db").stat().st_size
        cache.delete_many(list(cache.cids()))
        assert (tmp_path / "index.db").stat().st_size < full / 10
