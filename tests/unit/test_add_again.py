"""`add` a second time: what was read is not read again, an interrupted reading goes on, and counts are exact."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import pytest

from wherry.buffers import BufferPool
from wherry.chunking import FixedChunker
from wherry.cid import CID, RAW
from wherry.dag import build
from wherry.dag.build import FileBuilder, nodes_of
from wherry.errors import UsageError
from wherry.store.store import Store
from wherry.transfer import hashing
from wherry.transfer.add import Add
from wherry.units import MiB

ONE = FixedChunker(1 << 20)


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    opened = Store(folder, None)
    yield opened
    opened.close()


def added(store, path, *, meta=None, chunker=ONE, **options):
    run = Add(store, BufferPool(), chunker, **options)
    return run, run.run(str(path), meta or {})


def settle(*paths):
    """Waits until nothing there is young any more: a young file is read again by the next add, as it must be."""
    time.sleep(0.03)
    return paths


def fill(root, names, seed=1):
    rng = random.Random(seed)
    contents = {name: rng.randbytes(rng.randrange(3000)) for name in sorted(names)}
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(contents[name])


# Adding again


def test_nothing_is_read_again_when_nothing_changed(store, tree):
    settle(tree)
    first, cid = added(store, tree)
    assert first.tally.read_bytes == first.tally.bytes > 0
    again, same = added(store, tree)
    assert same == cid
    assert (again.tally.read_bytes, again.tally.bytes, again.tally.files) == (0, first.tally.bytes, first.tally.files)


@pytest.mark.parametrize(("name", "size"), [("readme.txt", 6), ("data/large.bin", 4 * MiB + 12345)])
def test_the_one_file_that_changed_is_read_alone(store, tree, name, size):
    settle(tree)
    _, cid = added(store, tree)
    data = bytearray((tree / name).read_bytes())
    data[0] ^= 1
    (tree / name).write_bytes(data)
    settle(tree)
    again, other = added(store, tree)
    assert again.tally.read_bytes == size
    assert other != cid
    assert added(store, tree)[0].tally.read_bytes == 0


@pytest.mark.parametrize("way", ["touch", "chmod", "rename-over", "same-size"])
def test_a_file_that_may_have_changed_is_read_again(store, tmp_path, way):
    path = tmp_path / "x"
    path.write_bytes(b"one")
    settle(path)
    added(store, path)
    times = path.stat()
    if way == "touch":
        os.utime(path)
    elif way == "chmod":
        path.chmod(0o600)
    elif way == "rename-over":
        (tmp_path / "y").write_bytes(b"two")
        (tmp_path / "y").rename(path)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    else:
        path.write_bytes(b"two")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    run, cid = added(store, path)
    assert run.tally.read_bytes == 3
    assert cid == CID.of(RAW, path.read_bytes())


def test_a_young_small_file_is_read_again(store, tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"one")
    real, changed = time.time_ns, path.stat().st_ctime_ns
    monkeypatch.setattr(time, "time_ns", lambda: changed + 1_000_000)
    assert added(store, path)[0].tally.read_bytes == 3
    monkeypatch.setattr(time, "time_ns", real)
    settle(path)
    assert added(store, path)[0].tally.read_bytes == 3
    assert added(store, path)[0].tally.read_bytes == 0


def test_a_young_large_file_is_waited_for(store, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(bytes(5 * MiB))
    assert added(store, path)[0].tally.read_bytes == 5 * MiB
    assert added(store, path)[0].tally.read_bytes == 0


def test_another_chunker_reads_again(store, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(os.urandom(3 * MiB))
    settle(path)
    added(store, path)
    assert added(store, path, chunker=FixedChunker(2 << 20))[0].tally.read_bytes == 3 * MiB


def test_a_file_whose_node_was_lost_is_read_again(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(os.urandom(3 * MiB))
    settle(path)
    home = tmp_path / "home"
    home.mkdir()
    opened = Store(home, None)
    cid = added(opened, path)[1]
    opened.close()
    (home / "nodes.db").unlink()
    opened = Store(home, None)
    run, same = added(opened, path)
    assert (run.tally.read_bytes, same) == (3 * MiB, cid)
    assert opened.blocks([cid])
    opened.close()


def interrupted(store, path, monkeypatch):
    """Adds a file of 40 MiB, and is cancelled in the middle; gives the bytes that were read."""
    run = Add(store, BufferPool(), ONE)
    real = hashing.Opened.read

    def read(self, offset, length, view):
        if offset >= 28 * MiB:  # six stretches are read ahead of what is taken, so by then some was taken
            run.cancel()
        return real(self, offset, length, view)

    monkeypatch.setattr(hashing.Opened, "read", read)
    with pytest.raises(InterruptedError):
        run.run(str(path), {})
    monkeypatch.undo()
    return run.tally.read_bytes


def by_hand(path):
    """The CID of a file as it is."""
    expected = FileBuilder(lambda block: None)
    data = path.read_bytes()
    for at in range(0, len(data), MiB):
        expected.add(CID.of(RAW, data[at : at + MiB]), MiB)
    return expected.finish()


def test_reading_goes_on_where_it_was_interrupted(store, tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(random.Random(1).randbytes(40 * MiB))
    settle(path)
    done = interrupted(store, path, monkeypatch)
    assert 0 < done < 40 * MiB
    assert store.state.roots() == []
    again, cid = added(store, path)
    assert again.tally.read_bytes == 40 * MiB - done
    assert cid == by_hand(path)


def test_what_was_read_of_a_file_that_changed_since_is_not_taken(store, tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(bytes(40 * MiB))
    settle(path)
    assert interrupted(store, path, monkeypatch) > 0
    path.write_bytes(bytes([1]) * 40 * MiB)
    settle(path)
    again, cid = added(store, path)
    assert again.tally.read_bytes == 40 * MiB
    shutil.copy(path, tmp_path / "copy")
    assert added(store, tmp_path / "copy")[1] == cid


# A bit flipped in the index


def flip(store, table, column, at):
    """Flips a bit of each value of a column."""
    with store.index._db.writing() as run:
        for (value,) in run.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall():
            changed = bytearray(value)
            changed[at] ^= 4
            run.execute(f"UPDATE {table} SET {column}=? WHERE {column}=?", (bytes(changed), value))


@pytest.mark.parametrize("size", [0, 1, 3000, MiB, 3 * MiB])
@pytest.mark.parametrize("at", [1, 4, 35])
def test_the_cid_of_a_file_is_of_what_was_read(store, tmp_path, size, at):
    path = tmp_path / "tree" / "x"
    path.parent.mkdir()
    path.write_bytes(random.Random(size).randbytes(size))
    settle(path)
    cid = added(store, path.parent)[1]
    flip(store, "files", "cid", at)
    run, same = added(store, path.parent)
    assert (same, run.tally.read_bytes) == (cid, size)
    run, same = added(store, path.parent)
    assert (same, run.tally.read_bytes) == (cid, 0)  # what was read is right again


@pytest.mark.parametrize("at", [0, 1, 33, 36, -1])
def test_what_was_read_before_an_interruption_is_taken_only_as_it_was(store, tmp_path, monkeypatch, at):
    """The length of keys; the first digest; the size of the first leaf; the second digest; the last size."""
    path = tmp_path / "x"
    path.write_bytes(random.Random(2).randbytes(40 * MiB))
    settle(path)
    interrupted(store, path, monkeypatch)
    flip(store, "progress", "leaves", at)
    assert added(store, path)[1] == by_hand(path)


# Counts


def blocks(run):
    return run.new_blocks, run.reused_blocks


def test_blocks_are_counted_exactly(store, tmp_path):
    root = tmp_path / "t"
    (root / "d").mkdir(parents=True)
    shared = os.urandom(MiB)
    (root / "small").write_bytes(b"small")
    (root / "empty").write_bytes(b"")
    (root / "a").write_bytes(shared + os.urandom(MiB))  # 2 leaves, 1 node
    (root / "d/b").write_bytes(shared + os.urandom(5 * MiB))  # 6 leaves, 1 node; one leaf is known
    settle(root)
    total = 1 + (2 + 1) + (6 + 1) + 2  # small, a, b, two directories
    assert blocks(added(store, root)[0]) == (total - 1, 1)
    assert blocks(added(store, root)[0]) == (0, total)
    shutil.copytree(root, tmp_path / "same")
    assert blocks(added(store, tmp_path / "same")[0]) == (0, total)
    (root / "small").write_bytes(b"other")
    settle(root)
    assert blocks(added(store, root)[0]) == (2, total - 2)  # the file and the directory around it
    assert blocks(added(store, root / "a")[0]) == (0, 3)
    assert blocks(added(store, root / "a", meta={"name": "a"})[0]) == (1, 3)


def test_the_same_leaf_many_times_in_a_file_is_one_new_block(store, tmp_path):
    path = tmp_path / "zeros"
    path.write_bytes(bytes(10 * MiB))
    run, _ = added(store, path)
    assert blocks(run) == (1 + 1, 9)


@pytest.mark.parametrize("leaves", [*range(20), 63, 64, 65, 100, 256, 257])
def test_the_nodes_of_a_file_are_known_from_its_leaves(monkeypatch, leaves):
    monkeypatch.setattr(build, "FANOUT", 4)
    emitted = []
    builder = FileBuilder(emitted.append)
    for number in range(leaves):
        builder.add(CID.of(RAW, b"%d" % number), 1)
    builder.finish()
    assert nodes_of(leaves) == len(emitted)


# Generated sources


def test_a_generated_source(store):
    run, cid = added(store, "synth://9MiB?seed=3")
    assert (run.tally.bytes, blocks(run)) == (9 * MiB, (10, 0))
    again, same = added(store, "synth://9 MiB?seed=3")
    assert (same, again.tally.read_bytes) == (cid, 0)
    assert added(store, "synth://9MiB?seed=4")[1] != cid
    with pytest.raises(UsageError):
        added(store, "synth://nothing")


def test_a_path_that_looks_like_a_generated_source_is_a_path(store, tmp_path):
    path = tmp_path / "synth:" / "9MiB"
    path.parent.mkdir()
    path.write_bytes(b"real")
    assert added(store, f"{tmp_path}/synth://9MiB")[1] == CID.of(RAW, b"real")
    assert [row.path for row in store.state.roots()] == [str(path)]


def test_many_files_and_the_children_that_read_along(store, tmp_path, monkeypatch):
    root = tmp_path / "t"
    fill(root, [f"{number % 7}/{number}" for number in range(1500)])
    alone, cid = added(store, root)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    folder = tmp_path / "other"
    folder.mkdir()
    other = Store(folder, None)
    run = Add(other, BufferPool(), ONE)
    assert run.run(str(root), {}) == cid
    assert blocks(run) == blocks(alone)
    other.close()


def test_names_count_as_files(store, tmp_path):
    root = tmp_path / "t"
    fill(root, ["a", "b", "c/d"])
    (root / "l").symlink_to("a")
    run, _ = added(store, root)
    assert run.tally.files == 3
    assert Path(store.state.roots()[0].path) == root
    options = {"chunker": FixedChunker(MiB).name, "mtime": "false", "unixfs": str(run.unixfs)}
    assert store.state.roots()[0].options == options
