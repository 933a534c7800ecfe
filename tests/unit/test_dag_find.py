"""Roots, and finding one path from few nodes (specs/0003 §7)."""

from __future__ import annotations

import pytest

from wherry import manifest
from wherry.block import EMPTY_LEAF, Block, named
from wherry.cid import CID, DAG_CBOR, RAW
from wherry.dag.walk import Root, find, root_of
from wherry.errors import DecodeError, IntegrityError, LimitExceeded, NotFound
from wherry.manifest import FILE, LINK, Attrs, Entry
from wherry.testing import hostile_manifests
from wherry.testing.trees import MemoryTree

CASES = {case.name: case for case in hostile_manifests.cases()}


@pytest.fixture(scope="module")
def tree():
    made = MemoryTree()
    sub = made.directory("sub", [made.file("a", b"12345678901"), made.file("empty", b""), Entry("l", LINK, target="../x")])
    return made, made.directory("", [sub, made.file("x", b"x", attrs=Attrs(True)), made.directory("void", [])])


@pytest.mark.parametrize("data", [b"\x01", b"\xa1aa\x01", b"\xd8*E\0\x01U\0\0", b"\xff"])
def test_a_root_that_is_a_value_of_ipld_says_what_reads_it(data):
    with pytest.raises(DecodeError, match="no wherry manifest") as caught:
        root_of(Block(CID.of(DAG_CBOR, data), data))
    assert "wherry dag get" in caught.value.hint
    with pytest.raises(DecodeError) as caught:
        root_of(Block(CID.of(DAG_CBOR, b"\xa1fwherryex/9"), b"\xa1fwherryex/9"))
    assert "dag get" not in (caught.value.hint or "")


def test_roots(tree):
    made, root = tree
    leaf = named(RAW, b"x")
    assert root_of(leaf) == Root(Entry("", FILE, leaf.cid, 1), {})
    assert root_of(named(RAW, b"")).entry == Entry("", FILE, EMPTY_LEAF, 0)
    file = made.file("f", b"x" * 25)
    assert root_of(Block(file.cid, made.blocks[file.cid])).entry == file._replace(name="")
    assert root_of(Block(root.cid, made.blocks[root.cid])) == Root(root, {})
    dataset = manifest.dataset_block(file._replace(attrs=Attrs(True)), {"title": "t"})
    assert root_of(dataset) == Root(file._replace(name="", attrs=Attrs(True)), {"title": "t"})


def test_find(tree):
    made, root = tree
    assert made.find(root, "") == (root, 0)
    assert made.find(root, "x")[0].size == 1
    assert made.find(root, "/sub//a/")[0].size == 11
    for path in ("y", "sub/b", "x/y", "sub/l/x", "..", "sub/.."):
        with pytest.raises(NotFound):
            made.find(root, path)


def test_find_in_a_large_directory_takes_few_nodes():
    made = MemoryTree()
    root = made.directory("", [made.file(f"n{number:06}", f"{number}".encode()) for number in range(20_000)])
    for number in (0, 1, 9_999, 19_999):
        entry, nodes = made.find(root, f"n{number:06}")
        assert made.blocks[entry.cid] == f"{number}".encode()
        assert nodes <= 3
    for path in ("a", "n0000005", "z"):
        with pytest.raises(NotFound):
            made.find(root, path)


def test_find_refuses_another_block(tree):
    _, root = tree
    search = find(root, "x")
    next(search)
    with pytest.raises(IntegrityError, match="which the search needs"):
        search.send(manifest.dir_block([]))


def search(case, path):
    entry = root_of(Block(case.root, case.blocks[case.root])).entry
    return MemoryTree(case.blocks).find(entry, path)


def test_find_refuses_what_the_walk_refuses():
    for name, path in (
        ("overlapping pieces", "e"),
        ("a piece that ends early", "b"),
        ("an empty piece", "b"),
        ("piece says more entries", "b"),
        ("piece says more bytes", "b"),
        ("directory says fewer entries", "d/a"),
        ("a file where a directory should be", "a/b"),
    ):
        with pytest.raises((IntegrityError, DecodeError)):
            search(CASES[name], path)
    with pytest.raises(LimitExceeded):
        search(CASES["pieces without end"], "n0049")
    assert search(hostile_manifests.nested_shards(8), "n0008")[1] == 9
    with pytest.raises(LimitExceeded):
        search(hostile_manifests.nested_shards(9), "n0009")
