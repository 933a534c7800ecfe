"""The index: where leaves lie, what it forgets, and what processes do to each other."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing

import pytest

from wherry.cid import CID, RAW
from wherry.errors import HomeTooNew, StoreError
from wherry.store.index import FileRecord, Index, LeafRow, Signature
from wherry.store.newindex import NewIndex, discard_if_damaged, left_behind
from wherry.store.places import _PLACES_MAX, Fresh

CHUNKER = "1MiB"


def digest(number):
    return hashlib.sha256(str(number).encode()).digest()


def signature(number=0):
    return Signature(1, 2, 3, number, 5)


def record(path, *digests, number=0, cid=None):
    return FileRecord(
        path, signature(number), cid, CHUNKER, [LeafRow(one, 100 * place, 100) for place, one in enumerate(digests)]
    )


@pytest.fixture
def index(tmp_path):
    with closing(Index(tmp_path)) as opened:
        yield opened


def places(index, one):
    return [(place.path, place.offset, place.size) for place in index.locate([one]).get(one, [])]


def test_what_is_recorded_is_found(index):
    cid = CID.of(RAW, b"x")
    assert index.record([record("/a", digest(1), digest(2), cid=cid), record("/b", digest(3))]).leaves == 3
    assert places(index, digest(2)) == [("/a", 100, 100)]
    assert index.locate([digest(1), digest(9), digest(3)]).keys() == {digest(1), digest(3)}
    assert index.locate([]) == {}
    row = index.files(["/a", "/none"])["/a"]
    assert (row.cid, row.signature, row.cut) == (cid, signature(), CHUNKER)
    assert index.files(["/b"])["/b"].cid is None
    assert index.usage() == (2, 3)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("files", "path", b"/a"),
        ("files", "cid", "text"),
        ("files", "cid", b"no CID"),
        ("leaves", "size", b""),
        ("leaves", "size", -1),
        ("leaves", "size", 1 << 40),
        ("leaves", "offset", "x"),
    ],
)
def test_a_row_that_rotted_is_not_known(index, table, column, value):
    cid = CID.of(RAW, b"")
    index.record([record("/a", digest(1), cid=cid), record("/b", digest(2), cid=cid)])
    with index._db.writing() as run:
        number = run.execute("SELECT id FROM files WHERE path='/a'").fetchone()[0]
        run.execute(f"UPDATE {table} SET {column}=? WHERE {'id' if table == 'files' else 'file'}=?", (value, number))
    assert places(index, digest(2)) == [("/b", 0, 100)]
    assert "/b" in index.files(["/a", "/b"])
    assert column == "cid" or places(index, digest(1)) == []
    assert table == "leaves" or "/a" not in index.files(["/a", "/b"])


def test_many_are_looked_up_at_once(index):
    many = [digest(number) for number in range(1000)]
    assert index.record([record(f"/f{number}", one) for number, one in enumerate(many)]).leaves == 1000
    assert index.locate(many).keys() == set(many)
    assert len(index.files([f"/f{number}" for number in range(1000)])) == 1000


def test_a_leaf_may_lie_in_several_places(index):
    assert index.record([record("/a", digest(1)), record("/b", digest(1))]).leaves == 1
    assert index.record([record("/c", digest(2), digest(1))]).leaves == 1
    assert sorted(places(index, digest(1))) == [("/a", 0, 100), ("/b", 0, 100), ("/c", 100, 100)]
    assert index.record([record("/d", digest(5), digest(5))]).leaves == 1
    assert places(index, digest(5)) == [("/d", 0, 100)]


def test_places_of_one_leaf_are_bounded_and_live_ones_take_the_room_of_dead_ones(index):
    index.record([record(f"/{number}", digest(1)) for number in range(50)])
    assert len(places(index, digest(1))) == 1 + _PLACES_MAX
    index.record([record(f"/{number}", digest(2), number=1) for number in range(1, 50)])  # they have changed
    assert places(index, digest(1)) == [("/0", 0, 100)]
    index.record([record("/new", digest(1))])
    assert places(index, digest(1)) == [("/0", 0, 100), ("/new", 0, 100)]


def test_a_file_recorded_again_forgets_what_it_held(index):
    index.record([record("/a", digest(1), digest(2))])
    index.record([record("/a", digest(2), digest(3), number=7)])
    assert places(index, digest(1)) == []
    assert places(index, digest(2)) == [("/a", 0, 100)]
    assert index.locate([digest(3)])[digest(3)][0].signature == signature(7)


def test_numbers_of_files_are_never_used_again(tmp_path):
    with closing(Index(tmp_path)) as index:
        first = index.begin("/a", signature(), CHUNKER)
        second = index.begin("/a", signature(1), CHUNKER)
        fresh = NewIndex(tmp_path)
    fresh.put_in_force()
    with closing(Index(tmp_path)) as index:
        assert index.usage() == (0, 0)
        third = index.begin("/a", signature(), CHUNKER)
    with closing(Index(tmp_path)) as index:
        fourth = index.begin("/b", signature(), CHUNKER)
        assert first < second < third < fourth
        index.add_leaves(first, [LeafRow(digest(1), 0, 10)], progress=False)  # late, for a file that is no more
        assert places(index, digest(1)) == []
        index.add_leaves(fourth, [LeafRow(digest(1), 5, 10)], progress=False)
        assert places(index, digest(1)) == [("/b", 5, 10)]


def test_reading_goes_on_where_it_was(tmp_path):
    with closing(Index(tmp_path)) as index:
        number = index.begin("/long", signature(), CHUNKER)
        index.add_leaves(number, [LeafRow(digest(1), 0, 100), LeafRow(digest(2), 100, 100)], progress=True)
        index.add_leaves(number, [LeafRow(digest(3), 200, 100)], progress=True)
    with closing(Index(tmp_path)) as index:
        assert index.files(["/long"])["/long"].cid is None
        assert list(index.progress(number)) == [
            [LeafRow(digest(1), 0, 100), LeafRow(digest(2), 100, 100)],
            [LeafRow(digest(3), 200, 100)],
        ]
        index.finish(number, CID.of(RAW, b"x"), signature(9))
        assert list(index.progress(number)) == []
        row = index.files(["/long"])["/long"]
        assert (row.cid, row.signature) == (CID.of(RAW, b"x"), signature(9))


def test_empty_batches(index):
    assert index.record([]).leaves == 0
    assert index.add_rows([]) == Fresh()
    assert index.add_leaves(1, [], progress=True) == Fresh()
    assert index.usage() == (0, 0)
    assert not index.holds_any()


def test_what_is_known_below_a_path(index):
    index.record([record("/a/b/c", digest(1)), record("/a.x", digest(2))])
    assert [index.knows_below(path) for path in ("/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a.", "/b", "/")] == [
        True, True, True, False, False, False, True,
    ]  # fmt: skip
    assert index.holds_any()


def test_an_index_of_a_newer_wherry(tmp_path):
    Index(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "index.db")) as database:
        database.execute("PRAGMA user_version=99")
    with pytest.raises(HomeTooNew, match="99"):
        Index(tmp_path)
    with pytest.raises(HomeTooNew):  # not damaged: it must not be thrown away
        discard_if_damaged(tmp_path)


@pytest.mark.parametrize("damage", [b"no database at all" * 500, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_damaged_index_is_told_of_and_can_be_discarded(tmp_path, damage):
    (tmp_path / "index.db").write_bytes(damage)
    with pytest.raises(StoreError, match=r"index\.db") as caught:
        Index(tmp_path)
    assert "repair" in caught.value.hint
    assert discard_if_damaged(tmp_path)
    Index(tmp_path).close()
    assert not discard_if_damaged(tmp_path)


def test_damage_inside_is_found(tmp_path):
    with closing(Index(tmp_path)) as index:
        index.record([record(f"/{number}", digest(number)) for number in range(2000)])
    path = tmp_path / "index.db"
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    path.write_bytes(data)
    with pytest.raises(StoreError):
        with closing(Index(tmp_path)) as index:
            index.locate([digest(number) for number in range(2000)])
    assert discard_if_damaged(tmp_path)


# Several processes

WRITER = """
    import sys, hashlib
    from pathlib import Path
    from wherry.store.index import FileRecord, Index, LeafRow, Signature
    index = Index(Path(sys.argv[1]))
    print("ready", flush=True)
    for number in range(int(sys.argv[2]), int(sys.argv[3])):
        one = hashlib.sha256(str(number).encode()).digest()
        index.record([FileRecord(f"/{number}", Signature(1, 2, 3, 0, 5), None, "c", [LeafRow(one, 0, 100)])])
        print(number, flush=True)
"""


def writer(home, first, stop):
    code = textwrap.dedent(WRITER)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(home), str(first), str(stop)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes_write_and_read_side_by_side_from_the_first_moment(tmp_path):
    """Nobody has made the tables yet: each process finds them missing."""
    writers = [writer(tmp_path, first, first + 40) for first in (0, 1000, 2000)]
    with closing(Index(tmp_path)) as index:
        while any(one.poll() is None for one in writers):
            index.locate([digest(number) for number in range(100)])
            index.record([record("/mine", digest("mine"))])
            time.sleep(0.02)
        for one in writers:
            assert one.communicate()[1] == ""
            assert one.returncode == 0
        wanted = [digest(first + number) for first in (0, 1000, 2000) for number in range(40)]
        assert index.locate(wanted).keys() == set(wanted)


def test_a_writer_that_is_killed_loses_nothing_it_has_said(tmp_path):
    for turn in range(5):
        first = 1000 * turn
        process = writer(tmp_path, first, first + 900)
        said = [process.stdout.readline() for _ in range(3 + 4 * turn)]
        process.send_signal(signal.SIGKILL)
        said += process.communicate()[0].splitlines()
        numbers = [int(line) for line in said if line.strip().isdigit()]
        with closing(Index(tmp_path)) as index:
            wanted = {digest(number) for number in numbers}
            assert index.locate(list(wanted)).keys() == wanted
            index.check()


def test_a_killed_transaction_is_rolled_back(tmp_path):
    """In the middle of a transaction so large that a part of it is in the file already."""
    with closing(Index(tmp_path)) as index:
        index.record([record("/before", digest("before"))])
    code = f"""
        import os, hashlib
        from pathlib import Path
        from wherry.store import database
        database._CACHE_KIB = 16
        from wherry.store.index import Index
        index = Index(Path({str(tmp_path)!r}))
        with index._db.writing() as run:
            rows = [(hashlib.sha256(b"%d" % n).digest(), 1, n, 9) for n in range(20000)]
            run.executemany("INSERT INTO leaves VALUES (?,?,?,?)", rows)
            os.kill(os.getpid(), 9)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "index.db-journal").stat().st_size > 0
    with closing(Index(tmp_path)) as index:
        assert index.usage() == (1, 1)
        index.check()


# the new index of a repair


def test_a_new_index_takes_over_what_was_not_read(tmp_path):
    with closing(Index(tmp_path)) as index:
        index.record(
            [record("/disk/a", digest(1), digest(2)), record("/disk/b", digest(2), digest(3)), record("/diskette", digest(4))]
        )
        long = index.begin("/disk/long", signature(3), CHUNKER)
        index.add_leaves(long, [LeafRow(digest(6), 0, 100)], progress=True)
        sealed = LeafRow(digest(7), 0, 100, b"k" * 32)
        index.record([FileRecord("/disk/a", signature(), None, "fixed x", [sealed])])
        before = {number: places(index, digest(number)) for number in (1, 2, 3, 6)}
        fresh = NewIndex(tmp_path)
        fresh.record([record("/home/c", digest(2), digest(5)), record("/disk/b", digest(8), number=9)])
        fresh.carry_over(["/disk/"])
    fresh.put_in_force()
    with closing(Index(tmp_path)) as index:
        assert places(index, digest(1)) == before[1]
        assert sorted(places(index, digest(2))) == [("/disk/a", 100, 100), ("/home/c", 0, 100)]
        assert places(index, digest(3)) == []  # of a file that was read, and is another one
        assert places(index, digest(8)) == [("/disk/b", 0, 100)]
        assert places(index, digest(4)) == []
        assert places(index, digest(6)) == before[6]
        assert list(index.progress(long)) == [[LeafRow(digest(6), 0, 100)]]
        assert index.locate_sealed([digest(7)])[digest(7)].place.path == "/disk/a"


def test_what_a_killed_repair_left_goes_when_the_next_begins_and_the_old_index_stays(tmp_path):
    with closing(Index(tmp_path)) as index:
        index.record([record("/a", digest(1))])
        NewIndex(tmp_path).close()
        (tmp_path / "index.db.new-journal").write_bytes(b"x" * 600)
        assert left_behind(tmp_path) > 0
        fresh = NewIndex(tmp_path)
        assert fresh.usage() == (0, 0)
        fresh.discard()
        fresh.discard()
        assert left_behind(tmp_path) == 0
        assert places(index, digest(1)) == [("/a", 0, 100)]
    assert sorted(path.name for path in tmp_path.glob("index.db*")) == ["index.db", "index.db-journal"]


def test_a_home_whose_name_is_no_utf8_has_a_new_index(tmp_path):
    home = tmp_path / os.fsdecode(b"\xff")
    home.mkdir()
    with closing(Index(home)) as index:
        index.record([record("/a", digest(1))])
        fresh = NewIndex(home)
        fresh.carry_over(["/"])
    fresh.put_in_force()
    with closing(Index(home)) as index:
        assert places(index, digest(1)) == [("/a", 0, 100)]
