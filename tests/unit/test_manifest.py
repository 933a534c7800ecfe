"""Manifest nodes: the vectors of specs/0003 §3, and each field of a node in turn."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry import dagcbor, errors, manifest
from wherry.block import EMPTY_LEAF, Block, checked, named
from wherry.cid import CID, DAG_CBOR, DAG_PB, RAW
from wherry.errors import DataError, DecodeError, LimitExceeded
from wherry.limits import FANOUT, LEAF_BYTES_MAX, META_BYTES_MAX, NODE_BYTES_MAX
from wherry.manifest import DIR, FILE, Attrs, DatasetNode, DirNode, Entry, FileNode, Shard, ShardsNode

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/manifest.json").read_text())
LEAF = CID.of(RAW, b"x")
NODE = CID.of(DAG_CBOR, b"x")


def vector_block(vector) -> Block:
    data = bytes.fromhex(vector["hex"]) if "hex" in vector else zlib.decompress(base64.b64decode(vector["deflated_base64"]))
    return checked(CID.parse(vector["cid"]), data)


@pytest.mark.parametrize("vector", VECTORS["nodes"], ids=lambda vector: vector["about"])
def test_nodes_of_the_vectors(vector):
    block = vector_block(vector)
    node = manifest.decode(block)
    match node:
        case FileNode():
            assert (vector["kind"], vector["size"], tuple(vector["ends"])) == ("file", node.size, node.ends)
            sizes = [end - begin for begin, end in zip((0, *node.ends), node.ends, strict=False)]
            assert manifest.file_block(list(node.links), sizes) == block
        case DirNode():
            assert (vector["kind"], vector["size"], vector["count"]) == ("dir", node.size, node.count)
            assert vector["names"] == [entry.name for entry in node.entries]
            assert manifest.dir_block(list(node.entries)) == block
        case ShardsNode():
            assert (vector["kind"], vector["size"], vector["count"]) == ("shards", node.size, node.count)
            assert vector["names"] == [shard.last for shard in node.shards]
            assert manifest.shards_block(list(node.shards)) == block
        case DatasetNode():
            assert (vector["kind"], vector["size"], vector["count"]) == ("dataset", node.root.size, node.root.entries)
            assert vector["meta"] == node.meta
            assert manifest.dataset_block(node.root, node.meta) == block


@pytest.mark.parametrize("vector", VECTORS["invalid_nodes"], ids=lambda vector: vector["about"])
def test_invalid_nodes_of_the_vectors(vector):
    with pytest.raises(errors.WherryError) as caught:
        manifest.decode(vector_block(vector))
    assert type(caught.value) is getattr(errors, vector["error"])
    assert len(str(caught.value)) < 400


def test_the_empty_file_and_attributes_are_read():
    entries = [
        Entry("e", FILE, EMPTY_LEAF, 0),
        Entry("x", FILE, LEAF, 1, 1, Attrs(executable=True, mtime=(-5, 7))),
        Entry("z", DIR, NODE, 9, 4, Attrs(mtime=(0, 0))),
    ]
    assert manifest.decode(manifest.dir_block(entries)) == DirNode(tuple(entries))


@pytest.mark.parametrize("codec", [RAW, DAG_PB])
def test_only_dag_cbor_is_a_manifest(codec):
    with pytest.raises(DecodeError, match="codec"):
        manifest.decode(named(codec, dagcbor.encode({"wherry": "dir/1", "entries": []})))


def test_the_largest_nodes_fit_into_a_block():
    name, attrs = "n" * 251, Attrs(True, (-(1 << 40), 999_999_999))
    files = [Entry(f"{name}{n:04}", FILE, NODE, 1 << 50, 1, attrs) for n in range(FANOUT)]
    for block in (
        manifest.dir_block(files),
        manifest.shards_block([Shard(entry.name, NODE, 1 << 50, 1 << 40) for entry in files]),
        manifest.file_block([NODE] * FANOUT, [1 << 50] * FANOUT),
    ):
        assert len(block.data) < NODE_BYTES_MAX
        manifest.decode(block)


def test_metadata_has_a_bound_when_written_and_when_read():
    root = Entry("", DIR, NODE, 0, 1)
    with pytest.raises(LimitExceeded, match="metadata"):
        manifest.dataset_block(root, {"a": "b" * META_BYTES_MAX})
    room = META_BYTES_MAX - len(manifest.dataset_block(root, {"a": "b" * 60_000}).data)
    block = manifest.dataset_block(root, {"a": "b" * (60_000 + room)})
    assert len(block.data) == META_BYTES_MAX
    assert isinstance(manifest.decode(block), DatasetNode)


def test_a_dataset_forgets_the_name_of_its_root():
    node = manifest.decode(manifest.dataset_block(Entry("mine", FILE, LEAF, 1, 1, Attrs(True)), {"title": "é"}))
    assert node == DatasetNode(Entry("", FILE, LEAF, 1, 1, Attrs(True)), {"title": "é"})


def test_the_fast_writer_of_plain_files_writes_what_the_general_one_does():
    entries = [Entry("é" * 20, FILE, NODE, 1 << 40), Entry("é" * 21, FILE, LEAF, LEAF_BYTES_MAX)]
    value = {"wherry": "dir/1", "entries": [[entry.name, "f", entry.cid, entry.size] for entry in entries]}
    assert manifest.dir_block(entries).data == dagcbor.encode(value)


# Every place of a node takes a value that is not its own

GOOD = {
    "file": {"wherry": "file/1", "size": 1, "links": [LEAF], "sizes": [1]},
    "dir": {
        "wherry": "dir/1",
        "entries": [["a", "f", LEAF, 1, {"exec": True, "mtime": [0, 0]}], ["b", "d", NODE, 1, 2], ["c", "l", "x"]],
    },
    "shards": {"wherry": "shards/1", "shards": [["a", NODE, 1, 1], ["b", NODE, 1, 1]]},
    "dataset": {"wherry": "dataset/1", "root": ["", "d", NODE, 1, 2], "meta": {"a": "b"}},
}
STRANGERS = [
    None,
    True,
    False,
    -1,
    1.0,
    1 << 61,
    (1 << 64) - 1,
    b"a",
    "",
    "..",
    [],
    [1],
    {},
    {"a": 1},
    LEAF,
    CID.of(DAG_PB, b"x"),
]


def places(value, path=()):
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("kind", GOOD)
def test_a_stranger_in_any_place_is_refused_or_keeps_the_form(kind):
    manifest.decode(named(DAG_CBOR, dagcbor.encode(GOOD[kind])))
    refused = 0
    for path in places(GOOD[kind]):
        for stranger in STRANGERS:
            block = named(DAG_CBOR, dagcbor.encode(replaced(GOOD[kind], path, stranger)))
            try:
                node = manifest.decode(block)
            except DataError as problem:
                refused += 1
                assert len(str(problem)) < 400
            else:
                assert written_again(node) == block, (path, stranger)
    assert refused > len(list(places(GOOD[kind]))) * (len(STRANGERS) - 5)


def written_again(node) -> Block:
    match node:
        case FileNode():
            sizes = [end - begin for begin, end in zip((0, *node.ends), node.ends, strict=False)]
            return manifest.file_block(list(node.links), sizes)
        case DirNode():
            return manifest.dir_block(list(node.entries))
        case ShardsNode():
            return manifest.shards_block(list(node.shards))
        case DatasetNode():
            return manifest.dataset_block(node.root, node.meta)


@given(st.lists(st.integers(1, LEAF_BYTES_MAX), min_size=1, max_size=50))
@settings(deadline=None)
def test_ends_are_sums_of_sizes(sizes):
    node = manifest.decode(manifest.file_block([LEAF] * len(sizes), sizes))
    assert isinstance(node, FileNode)
    assert node.ends == tuple(sum(sizes[: index + 1]) for index in range(len(sizes)))
    assert node.size == sum(sizes)
