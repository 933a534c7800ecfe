"""Building DAGs. The oracle is a second, plain implementation of specs/0003 §4-5, over cbrrr."""

from __future__ import annotations

import hashlib
import json
import random
import tempfile
from itertools import islice
from pathlib import Path

import cbrrr
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry import manifest
from wherry.block import EMPTY_LEAF, Block, named
from wherry.cid import CID, DAG_CBOR, RAW
from wherry.dag.build import DirBuilder, FileBuilder
from wherry.errors import UnsafeName
from wherry.limits import FANOUT, LEAF_BYTES_MAX, NODE_BYTES_MAX
from wherry.manifest import DIR, FILE, LINK, Attrs, DirNode, Entry, FileNode, ShardsNode
from wherry.testing.trees import unfold
from wherry.transfer.scan import Found, scan

pytestmark = pytest.mark.uncounted  # coverage would double its time, and adds few lines

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/manifest.json").read_text())
LEAF = CID.of(RAW, b"x")


# The oracle: whole lists, level by level


def reference_node(value) -> tuple[bytes, bytes]:
    data = cbrrr.encode_dag_cbor(value)
    return b"\x01\x71\x12\x20" + hashlib.sha256(data).digest(), data


def reference_file(leaves: list[tuple[bytes, int]]) -> tuple[bytes, dict[bytes, bytes]]:
    """Takes (cid, size) of each leaf; gives the file's CID and its nodes."""
    nodes: dict[bytes, bytes] = {}
    level = leaves or [(bytes(EMPTY_LEAF), 0)]
    while len(level) > 1:
        above = []
        for start in range(0, len(level), 1024):
            group = level[start : start + 1024]
            sizes = [size for _, size in group]
            links = [cbrrr.CID(cid) for cid, _ in group]
            cid, data = reference_node({"wherry": "file/1", "size": sum(sizes), "links": links, "sizes": sizes})
            nodes[cid] = data
            above.append((cid, sum(sizes)))
        level = above
    return level[0][0], nodes


def reference_entry(entry: Entry) -> list:
    if entry.kind == LINK:
        return [entry.name, "l", entry.target]
    attrs = {}
    if entry.attrs.executable:
        attrs["exec"] = True
    if entry.attrs.mtime:
        attrs["mtime"] = list(entry.attrs.mtime)
    count = [entry.entries] if entry.kind == DIR else []
    return [entry.name, entry.kind, cbrrr.CID(bytes(entry.cid)), entry.size, *count, *([attrs] if attrs else [])]


def zero_byte(name: str, index: int) -> bool:
    return hashlib.sha256(name.encode()).digest()[index] == 0


def reference_dir(entries: list[Entry]) -> tuple[bytes, dict[bytes, bytes]]:
    """Takes the sorted entries; gives the directory's CID and its nodes."""
    nodes: dict[bytes, bytes] = {}

    def keep(value):
        cid, data = reference_node(value)
        nodes[cid] = data
        return cid

    weights = [128 + len(entry.name.encode()) + len(entry.target.encode()) for entry in entries]
    if len(entries) <= 1024 and sum(weights) <= 524_288:
        return keep({"wherry": "dir/1", "entries": [reference_entry(entry) for entry in entries]}), nodes
    pieces: list[list[Entry]] = [[]]
    room = 524_288
    for entry, weight in zip(entries, weights, strict=True):
        last = pieces[-1]
        if last and (len(last) == 1024 or zero_byte(last[-1].name, 0) or weight > room):
            pieces.append(last := [])
            room = 524_288
        last.append(entry)
        room -= weight
    level = [
        (
            piece[-1].name,
            keep({"wherry": "dir/1", "entries": [reference_entry(entry) for entry in piece]}),
            sum(entry.size for entry in piece),
            sum(entry.entries for entry in piece),
        )
        for piece in pieces
    ]
    index = 0
    while len(level) > 1:
        index += 1
        groups: list[list] = [[]]
        for shard in level:
            last = groups[-1]
            if len(last) == 1024 or (len(last) > 1 and zero_byte(last[-1][0], index)):
                groups.append(last := [])
            last.append(shard)
        level = [
            group[0]
            if len(group) == 1
            else (
                group[-1][0],
                keep(
                    {"wherry": "shards/1", "shards": [[name, cbrrr.CID(cid), size, count] for name, cid, size, count in group]}
                ),
                sum(shard[2] for shard in group),
                sum(shard[3] for shard in group),
            )
            for group in groups
        ]
    return level[0][1], nodes


# What is tested


def build_file(leaves):
    nodes: dict[CID, bytes] = {}
    builder = FileBuilder(lambda block: nodes.__setitem__(block.cid, block.data))
    for cid, size in leaves:
        builder.add(cid, size)
    return builder.finish(), nodes


def build_dir(entries):
    nodes: dict[CID, bytes] = {}
    builder = DirBuilder(lambda block: nodes.__setitem__(block.cid, block.data))
    for entry in entries:
        builder.add(entry)
    return builder.finish(), nodes


def files(names) -> list[Entry]:
    return [Entry(name, FILE, LEAF, 1) for name in sorted(names)]


def numbered(count: int, step: int = 1) -> list[str]:
    return [f"f{number:07}" for number in range(0, count * step, step)]


@pytest.mark.parametrize("count", [0, 1, 2, 1023, 1024, 1025, 1026, 2048, 2049, 1024 * 3 + 7])
def test_files_are_as_the_oracle_makes_them(count):
    leaves = [(named(RAW, bytes([number % 7])).cid, 1 + number % 5) for number in range(count)]
    assert build_file(leaves) == reference_file(leaves)


@pytest.mark.slow
def test_a_file_of_three_levels_is_as_the_oracle_makes_it():
    leaves = [(LEAF, 4096)] * (1024 * 1024 + 1)
    root, nodes = build_file(leaves)
    assert (root, nodes) == reference_file(leaves)
    node = manifest.decode(Block(root, nodes[root]))
    assert isinstance(node, FileNode)
    assert node.size == 4096 * len(leaves)
    assert len(node.links) == 2


def test_a_file_of_one_leaf_is_the_leaf_and_an_empty_one_the_empty_leaf():
    assert build_file([(LEAF, 1)]) == (LEAF, {})
    assert build_file([]) == (EMPTY_LEAF, {})


@pytest.mark.parametrize("size", [0, -1, LEAF_BYTES_MAX + 1])
def test_a_leaf_of_no_possible_size_is_not_taken(size):
    with pytest.raises(ValueError, match="a leaf of"):
        FileBuilder(lambda _: None).add(LEAF, size)


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 1300, 5000, 70_000])
def test_directories_are_as_the_oracle_makes_them(count):
    entries = files(numbered(count))
    assert build_dir(entries) == reference_dir(entries)


TEXT = st.characters(codec="utf-8", exclude_characters="\0")
NAMES = st.text(TEXT.filter(lambda char: char != "/"), min_size=1, max_size=20).filter(lambda name: name not in {".", ".."})
FILE_NAMES = NAMES.filter(lambda name: len(name.encode()) < 200)
ATTRS = st.builds(Attrs, st.booleans(), st.none() | st.tuples(st.integers(-(1 << 40), 1 << 40), st.integers(0, 10**9 - 1)))


@st.composite
def any_entry(draw, name):
    kind = draw(st.sampled_from([FILE, DIR, LINK]))
    if kind == LINK:
        return Entry(name, LINK, target=draw(st.text(TEXT, min_size=1, max_size=30)))
    attrs = draw(ATTRS)
    if kind == DIR:
        cid, size, count = (
            CID.of(DAG_CBOR, draw(st.binary(max_size=4))),
            draw(st.integers(0, 1 << 40)),
            draw(st.integers(1, 1 << 40)),
        )
        return Entry(name, DIR, cid, size, count, attrs._replace(executable=False))
    leaf = CID.of(RAW, draw(st.binary(min_size=1, max_size=4)))
    return Entry(name, FILE, leaf, draw(st.integers(1, LEAF_BYTES_MAX)), 1, attrs)


@given(st.data(), st.sets(NAMES, max_size=20))
@settings(deadline=None)
def test_any_small_directory_is_as_the_oracle_makes_it_and_reads_back(data, names):
    entries = [data.draw(any_entry(name)) for name in sorted(names)]
    root, nodes = build_dir(entries)
    assert (root, nodes) == reference_dir(entries)
    assert manifest.decode(Block(root, nodes[root])) == DirNode(tuple(entries))


@given(st.lists(FILE_NAMES, min_size=1, max_size=30, unique=True))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_file_system_does_not_matter(names):
    roots = set()
    for order in (names, sorted(names, reverse=True)):
        with tempfile.TemporaryDirectory() as folder:
            for name in order:
                Path(folder, name).touch()
            found = [item.name for item in scan(folder) if isinstance(item, Found)]
        roots.add(build_dir(Entry(name, FILE, LEAF, 1) for name in found)[0])
    assert roots == {CID(reference_dir(files(names))[0])}


def test_names_sort_by_their_utf8_bytes():
    names = ["Z", "a", "é", "\uffff", "\U0001f600", "\ue000"]
    assert [name.encode() for name in sorted(names)] == sorted(name.encode() for name in names)
    root, nodes = build_dir(files(names))
    assert [entry.name for entry in manifest.decode(Block(root, nodes[root])).entries] == sorted(names)


@pytest.mark.parametrize("names", [("b", "a"), ("a", "a")])
def test_entries_out_of_order_are_not_taken(names):
    builder = DirBuilder(lambda _: None)
    builder.add(Entry(names[0], FILE, LEAF, 1))
    with pytest.raises(ValueError, match="sorted by name"):
        builder.add(Entry(names[1], FILE, LEAF, 1))


@pytest.mark.parametrize(
    "entry",
    [Entry("..", FILE, LEAF, 1), Entry("\udc80", FILE, LEAF, 1), Entry("a", LINK), Entry("a", LINK, target="\udc80")],
)
def test_entries_that_no_one_could_read_are_not_taken(entry):
    with pytest.raises(UnsafeName):
        DirBuilder(lambda _: None).add(entry)


@pytest.fixture(scope="module")
def large():
    """100,000 names: two levels of index."""
    names = numbered(100_000, step=10)
    return names, *build_dir(files(names))


@pytest.mark.parametrize("where", [0, 1, 33_333, 50_000, 99_999])
@pytest.mark.parametrize("change", ["add", "remove", "change"])
def test_one_name_changes_few_nodes(large, where, change):
    names, _, before = large
    entries = files(names)
    if change == "add":
        entries.append(Entry(names[where] + "+", FILE, LEAF, 1))
    elif change == "remove":
        del entries[where]
    else:
        entries[where] = entries[where]._replace(cid=CID.of(RAW, b"y"))
    _, after = build_dir(sorted(entries))
    # One piece (two where a cut comes or goes) and its index a level, up to the root; a forced cut may move one piece more.
    assert len(after.keys() - before.keys()) <= 8
    assert len(before.keys() - after.keys()) <= 8
    assert len(before) > 300


@given(st.integers(0, 2**32), st.integers(1100, 4000), st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_one_name_changes_few_nodes_of_any_directory(seed, count, added):
    numbers = set(random.Random(seed).sample(range(10**6), count))
    _, before = build_dir(files(str(number) for number in numbers))
    _, after = build_dir(files(str(number) for number in numbers | {added}))
    assert len(after.keys() - before.keys()) <= 6


def test_a_builder_holds_one_node_a_level():
    """The structure that bounds its memory: a million names are never held at one time."""
    builder = DirBuilder(lambda _: None)
    most = 0
    for number in range(200_000):
        builder.add(Entry(f"f{number:07}", FILE, LEAF, 1))
        most = max(most, len(builder._held) + sum(map(len, builder._levels)))
    assert most <= FANOUT * 3
    assert (builder.size, builder.entries) == (200_000, 200_000)
    file = FileBuilder(lambda _: None)
    for _ in range(200_000):
        file.add(LEAF, 1)
        assert sum(map(len, file._levels)) <= FANOUT * 2


def test_names_that_all_cut_make_a_dag_that_can_be_walked():
    """Whoever picks names can cut behind each of them; the pieces get small, and the depth stays bounded."""
    rng = random.Random(1)
    names = list(islice((name for _ in iter(int, 1) if zero_byte(name := f"{rng.randrange(10**9):09}", 0)), 1500))
    root, nodes = build_dir(files(set(names)))
    assert sum(isinstance(manifest.decode(Block(cid, data)), DirNode) for cid, data in nodes.items()) == len(set(names))
    assert sum(1 for _ in unfold(root, nodes)) == 2 + 3 * len(set(names))


def test_a_directory_of_long_link_targets_fits_into_its_nodes():
    entries = [Entry(f"l{number:04}", LINK, target="é" * 2048) for number in range(1000)]
    root, nodes = build_dir(entries)
    assert (root, nodes) == reference_dir(entries)
    assert max(map(len, nodes.values())) < NODE_BYTES_MAX
    assert isinstance(manifest.decode(Block(root, nodes[root])), ShardsNode)
    assert sum(1 for _ in unfold(root, nodes)) == 1002


@pytest.mark.parametrize("count", [127, 128, 129, 300])
def test_pieces_of_exactly_the_largest_weight(count):
    """Each entry weighs 4,096 here, so 128 of them are all that a node takes."""
    entries = [Entry(f"m{number:03}", LINK, target="t" * 3964) for number in range(count)]
    assert not any(zero_byte(entry.name, 0) for entry in entries), "no cut but by weight"
    root, nodes = build_dir(entries)
    assert (root, nodes) == reference_dir(entries)
    assert (len(nodes) == 1) is (count <= 128)
    assert max(manifest.decode(Block(cid, data)).count for cid, data in nodes.items() if cid != root or count <= 128) <= 128


def test_an_index_does_not_end_behind_its_first_piece():
    """The names of the first five pieces would end an index of any level; two pieces at least are in each."""
    cutting = [name for name in (f"{number:07}" for number in range(400_000)) if zero_byte(name, 0) and zero_byte(name, 1)][:5]
    entries = files([*cutting, *(f"9{number:06}" for number in range(1100))])
    root, nodes = build_dir(entries)
    assert len(cutting) == 5
    assert (root, nodes) == reference_dir(entries)


def test_the_weight_of_an_entry_is_never_less_than_its_bytes():
    attrs = Attrs(True, (-(1 << 40), 999_999_999))
    for entry in (
        Entry("n" * 255, FILE, CID.of(DAG_CBOR, b""), 1 << 60, 1, attrs),
        Entry("n" * 255, DIR, CID.of(DAG_CBOR, b""), 1 << 60, 1 << 60, attrs._replace(executable=False)),
        Entry("n" * 255, LINK, target="t" * 4096),
    ):
        assert len(cbrrr.encode_dag_cbor(reference_entry(entry))) <= 128 + len(entry.name) + len(entry.target)


@pytest.mark.parametrize("vector", VECTORS["files"], ids=lambda vector: vector["about"])
def test_files_of_the_vectors(vector):
    leaves = [(CID.parse(cid), size) for cid, size, times in vector["leaves"] for _ in range(times)]
    root, nodes = build_file(leaves)
    assert str(root) == vector["cid"]
    assert len(nodes) == vector["nodes"]


@pytest.mark.parametrize("vector", VECTORS["directories"], ids=lambda vector: vector["about"])
def test_directories_of_the_vectors(vector):
    names = [vector["name"] % number for number in range(vector["count"])]
    if "target" in vector:
        entries = [Entry(name, LINK, target=vector["target"] * vector["target_times"]) for name in sorted(names)]
    else:
        entries = [Entry(name, FILE, CID.parse(vector["file"]), vector["size"]) for name in sorted(names)]
    root, nodes = build_dir(entries)
    assert str(root) == vector["cid"]
    assert len(nodes) == vector["nodes"]
    shards = manifest.decode(Block(root, nodes[root]))
    assert [shard.last for shard in getattr(shards, "shards", ())] == vector["root_lasts"]
