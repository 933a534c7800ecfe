"""The store: one look-up over files, nodes and cache; nothing changed or damaged gets out."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

from wherry.abc.cache import Kept
from wherry.block import EMPTY_LEAF, named
from wherry.cid import CID, DAG_CBOR, DAG_PB, RAW
from wherry.errors import IntegrityError, LocalError, NotFound, SourceChanged, StoreError, WherryError
from wherry.fileio import open_regular, open_unchanged, read_exactly
from wherry.store.held import stays
from wherry.store.index import FileRecord, LeafRow, Signature
from wherry.store.nodes import NodeDB
from wherry.store.state import StateDB
from wherry.store.store import Store
from wherry_cache.memory import MemoryCache

DATA = os.urandom(1000)
FIRST, SECOND = named(RAW, DATA[:600]), named(RAW, DATA[600:])


@pytest.fixture
def path(tmp_path):
    place = tmp_path / "data.bin"
    place.write_bytes(DATA)
    return place


def put(store, path):
    rows = [LeafRow(FIRST.cid.digest, 0, 600), LeafRow(SECOND.cid.digest, 600, 400)]
    store.index.record([FileRecord(str(path), Signature.of(path.stat()), None, "c", rows)])


@pytest.fixture
def store(tmp_path, path):
    home = tmp_path / "home"
    home.mkdir()
    with closing(Store(home, None)) as opened:
        put(opened, path)
        yield opened


def read(held):
    data = bytearray(held.size)
    held.read_into(memoryview(data))
    return bytes(data)


def touched(path):
    os.utime(path, ns=(1, path.stat().st_mtime_ns))  # moves the ctime alone


def same_time(path):
    times = path.stat()
    path.write_bytes(DATA[::-1])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def replaced(path):
    times = path.stat()
    path.rename(path.with_name("old"))
    path.write_bytes(DATA)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def linked(path):
    path.rename(path.with_name("old"))
    path.symlink_to("old")


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def folder(path):
    path.unlink()
    path.mkdir()


CHANGES = {
    "grown": lambda path: path.write_bytes(DATA + b"x"),
    "cut": lambda path: os.truncate(path, 999),
    "rewritten": lambda path: path.write_bytes(DATA),
    "rewritten with its old mtime": same_time,
    "its ctime alone": touched,
    "another file of the same size and mtime": replaced,
    "a symbolic link to the very file": linked,
    "a fifo": fifo,
    "a directory": folder,
    "gone": lambda path: path.unlink(),
}


def test_leaves_of_a_file_are_found_and_read(store):
    first, second, absent = store.find([FIRST.cid, SECOND.cid, CID.of(RAW, b"none")])
    assert absent is None
    assert (read(first), read(second)) == (FIRST.data, SECOND.data)
    assert second.follows(first)
    assert not first.follows(second)
    assert not first.follows(first)
    span = second.open_span()
    assert os.pread(span.fd, 400, span.offset) == SECOND.data
    os.close(span.fd)


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changed_is_never_read(store, path, change):
    held = store.find([FIRST.cid])[0]
    CHANGES[change](path)
    for one in (held, store.find([FIRST.cid])[0]):
        with pytest.raises((LocalError, NotFound)):
            read(one)
        with pytest.raises((LocalError, NotFound)):
            one.open_span()


def test_a_place_that_changed_gives_way_to_another(store, path):
    twin = path.with_name("twin")
    twin.write_bytes(DATA)
    put(store, twin)
    path.unlink()
    held = store.find([FIRST.cid])[0]
    assert held.open_span() is None  # read and copied instead
    assert read(held) == FIRST.data
    twin.unlink()
    with pytest.raises(WherryError):
        read(held)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("where", ["node", "cache"])
def test_what_the_index_says_hides_no_other_copy(tmp_path, path, change, where):
    cache = MemoryCache(1 << 20)
    with closing(Store(tmp_path, lambda: cache)) as store:
        put(store, path)
        held = store.find([FIRST.cid])[0]
        held.confirm()
        assert stays(held)
        CHANGES[change](path)
        with pytest.raises((LocalError, NotFound)):
            held.confirm()
        assert not stays(held)
        if where == "node":
            store.nodes.put_many([FIRST])
        else:
            cache.put_many([Kept(*FIRST, len(FIRST.data))])
        held.confirm()
        assert stays(held) == (where == "node")  # a cache may forget it
        with pytest.raises((LocalError, NotFound)):
            held.open_span()  # so it is read and copied
        assert read(held) == FIRST.data


def test_what_is_held_says_whether_it_stays(tmp_path):
    cache = MemoryCache(1 << 20)
    with closing(Store(tmp_path, lambda: cache)) as store:
        cache.put_many([Kept(*FIRST, len(FIRST.data))])
        store.nodes.put_many([SECOND])
        assert [stays(held) for held in store.find([FIRST.cid, SECOND.cid, EMPTY_LEAF])] == [False, True, True]
        assert not stays(None)


def test_a_hashing_store_finds_what_times_do_not_tell(tmp_path, store, path):
    with closing(Store(tmp_path / "home", None, hashed=True)) as hashed:
        held = hashed.find([FIRST.cid])[0]
        assert held.open_span() is None
        assert read(held) == FIRST.data
        with path.open("r+b") as file:
            file.write(b"??")
        put_signature(tmp_path / "home", path)
        with pytest.raises(IntegrityError, match=r"data\.bin"):
            read(hashed.find([FIRST.cid])[0])


def put_signature(home, path):
    """Makes the index believe that the file is the one that was hashed, as a disk that rots does."""
    with closing(sqlite3.connect(home / "index.db")) as database:
        database.execute("UPDATE files SET mtime=?, ctime=?", Signature.of(path.stat())[3:])
        database.commit()


def test_the_empty_leaf_is_everywhere(store):
    assert read(store.find([EMPTY_LEAF])[0]) == b""


def test_generated_sources_are_read(store):
    from wherry.synth import Synth

    source = Synth("synth://3MiB?seed=4")
    data = bytearray(1 << 20)
    source.read_into(memoryview(data), 1 << 20)
    leaf = named(RAW, bytes(data))
    rows = [LeafRow(leaf.cid.digest, 1 << 20, 1 << 20)]
    store.index.record([FileRecord(source.address, Signature(0, 0, source.size, 0, 0), None, "c", rows)])
    held = store.find([leaf.cid])[0]
    assert held.open_span() is None
    assert read(held) == leaf.data


def test_nodes_are_read_and_verified(tmp_path, store):
    node = named(DAG_CBOR, b"\xa0")
    assert store.nodes.put_many([node, node]) == 1
    assert store.nodes.put_many([node]) == 0
    assert store.nodes.put_many([]) == 0
    held = store.find([node.cid])[0]
    assert (read(held), held.open_span(), held.follows(held)) == (b"\xa0", None, False)
    assert store.blocks([node.cid, FIRST.cid]) == {node.cid: node}
    assert store.nodes.sizes([node.cid, FIRST.cid]) == {node.cid: 1}
    assert store.nodes.usage() == (1, 1)
    with closing(sqlite3.connect(tmp_path / "home/nodes.db")) as database:
        database.execute("UPDATE nodes SET data=x'a1'")
        database.commit()
    for damaged in (lambda: read(held), lambda: store.blocks([node.cid])):
        with pytest.raises(IntegrityError, match=str(node.cid)):
            damaged()
    with closing(sqlite3.connect(tmp_path / "home/nodes.db")) as database:
        database.execute("DELETE FROM nodes")
        database.commit()
    with pytest.raises(StoreError):
        read(held)


@pytest.mark.parametrize("value", ["text", 7, 1.5])
def test_a_node_whose_row_rotted_is_damaged(tmp_path, value):
    node = named(DAG_CBOR, b"\xa0")
    with closing(NodeDB(tmp_path)) as nodes:
        nodes.put_many([node])
        with nodes._db.writing() as run:
            run.execute("UPDATE nodes SET data=?", (value,))
        with pytest.raises(IntegrityError, match=str(node.cid)):
            nodes.get_many([node.cid])


def test_new_nodes_are_counted_apart_from_those_beside_them(store):
    own = [named(DAG_CBOR, bytes([0x18, number])) for number in range(100, 104)]
    twins = [named(DAG_PB, bytes([number])) for number in range(4)]
    assert store.nodes.put_many(own[:2], dict(twins[:2])) == 2  # none is here
    assert store.nodes.put_many(own[:2], dict(twins[:2])) == 0  # all are
    assert store.nodes.put_many(own[:3], dict(twins)) == 1  # some are, of both
    assert store.nodes.put_many([own[3], own[3]], dict(twins)) == 1
    assert store.nodes.put_many([], dict(twins)) == 0
    every = [*own, *twins]
    assert store.nodes.get_many([block.cid for block in every]) == {block.cid: block for block in every}


def test_many_nodes_at_once(tmp_path):
    nodes = [named(DAG_CBOR, bytes([0x19, number >> 8, number & 255])) for number in range(700)]
    with closing(NodeDB(tmp_path)) as db:
        assert db.put_many(nodes) == 700
        assert db.get_many([node.cid for node in nodes]) == {node.cid: node for node in nodes}


def test_the_cache_is_asked_last_and_believed_never(tmp_path):
    cached, rotten = named(RAW, b"cached"), named(RAW, b"rotten")
    cache = MemoryCache(1 << 20)
    opened = []

    def open_cache():
        opened.append(1)
        return cache

    with closing(Store(tmp_path, open_cache)) as store:
        store.nodes.put_many([named(DAG_CBOR, b"\xa0")])
        assert store.find([CID.of(DAG_CBOR, b"\xa0"), EMPTY_LEAF])[0] is not None
        cache.put_many([Kept(*cached, len(cached.data)), Kept(*rotten, len(rotten.data))])
        held = store.find([cached.cid])[0]
        assert read(held) == b"cached"
        assert store.blocks([cached.cid]) == {cached.cid: cached}
        cache.put_many([Kept(rotten.cid, b"wrong!", 6)])
        held = store.find([rotten.cid])[0]
        with pytest.raises(StoreError):
            read(held)
        assert store.find([rotten.cid]) == [None]
        cache.put_many([Kept(rotten.cid, b"wrong!", 6)])
        assert store.blocks([rotten.cid]) == {}
        assert cache.has_many([rotten.cid]) == [False]
        assert len(opened) == 1


def test_a_store_that_does_not_open_leaves_nothing_open(tmp_path):
    Store(tmp_path, None).close()
    (tmp_path / "index.db").write_bytes(b"damaged" * 1000)
    with pytest.raises(StoreError):
        Store(tmp_path, None)
    # the fixture around each test looks for descriptors


# Roots


def test_roots_survive(tmp_path):
    one, two = CID.of(DAG_CBOR, b"1"), CID.of(DAG_CBOR, b"2")
    with closing(StateDB(tmp_path)) as state:
        state.put_root(one, "/a", "add", {"chunker": "1MiB"})
        state.put_root(one, "/b", "get", {})
        state.put_root(two, "/a", "add", {})
        state.put_root(one, "/a", "add", {"chunker": "2MiB"})
    with closing(StateDB(tmp_path)) as state:
        assert {(row.cid, row.path, row.how) for row in state.roots()} == {
            (one, "/a", "add"), (one, "/b", "get"), (two, "/a", "add"),
        }  # fmt: skip
        assert {row.path: row.options for row in state.roots(one)} == {"/a": {"chunker": "2MiB"}, "/b": {}}
        state.drop_root(one, "/a")
        state.drop_root(one, "/none")
        assert [row.path for row in state.roots(one)] == ["/b"]


# Reading files


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("cid", b"\xff"),
        ("cid", 1.5),
        ("path", b"/a"),
        ("options", "text"),
        ("options", "[1]"),
        ("options", '{"a": 1}'),
        ("at", "x"),
    ],
)
def test_a_root_that_rotted_hides_no_other(tmp_path, caplog, column, value):
    one, two = CID.of(DAG_CBOR, b"1"), CID.of(DAG_CBOR, b"2")
    with closing(StateDB(tmp_path)) as state:
        state.put_root(one, "/a", "add", {})
        state.put_root(two, "/b", "add", {})
        with state.writing() as run:
            run.execute(f"UPDATE roots SET {column}=? WHERE path='/a'", (value,))
        assert [row.cid for row in state.roots()] == [two]
    assert "1 roots in state.db cannot be read" in caplog.text


def test_reading_takes_regular_files_alone(tmp_path, path):
    fd, found = open_regular(str(path))
    assert found.st_size == 1000
    view = memoryview(bytearray(400))
    read_exactly(fd, view, 600, "x")
    assert view == SECOND.data
    with pytest.raises(SourceChanged, match="shorter"):
        read_exactly(fd, view, 601, "x")
    os.close(fd)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(path)
    for name in ("fifo", "link", ".", "none", "data.bin/below"):
        with pytest.raises(WherryError):
            open_regular(str(tmp_path / name))
    with pytest.raises(SourceChanged, match="has changed"):
        open_unchanged(str(path), Signature(0, 0, 0, 0, 0))


def test_a_state_of_the_first_format_gets_a_table_of_transfers(tmp_path):
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as old:
        old.execute(
            "CREATE TABLE roots (cid BLOB NOT NULL, path TEXT NOT NULL, how TEXT NOT NULL, options TEXT NOT NULL, "
            "at INTEGER NOT NULL, PRIMARY KEY (cid, path)) WITHOUT ROWID"
        )
        old.execute("INSERT INTO roots VALUES (?, '/a', 'add', '{}', 5)", (bytes(EMPTY_LEAF),))
        old.execute("PRAGMA user_version=1")
    with closing(StateDB(tmp_path)) as state:
        assert [(row.path, row.at) for row in state.roots()] == [("/a", 5)]
        assert state.transfers() == []
        assert [state.add_transfer("one"), state.add_transfer("two")] == [1, 2]
        state.put_transfer(1, "uno")
        state.drop_transfers([2])
        assert state.add_transfer("three") == 3  # no number comes twice
    with closing(StateDB(tmp_path)) as state:
        assert state.transfers() == [(1, "uno"), (3, "three")]
    with closing(sqlite3.connect(tmp_path / "state.db")) as found:
        assert found.execute("PRAGMA user_version").fetchone() == (5,)
