"""Walking: whole trees, ranges, and every hostile manifest (specs/0003 §7)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry import errors, manifest
from wherry.block import Block
from wherry.cid import CID, DAG_CBOR, RAW
from wherry.dag.build import FileBuilder
from wherry.dag.walk import EnterDir, EnterFile, Leaf, LeaveDir, LeaveFile, LinkStep, Need, Walk, root_of
from wherry.errors import DecodeError, IntegrityError, LimitExceeded, UnsafeName
from wherry.limits import TREE_ENTRIES_MAX
from wherry.manifest import DIR, FILE, LINK, Attrs, Entry
from wherry.names import Collisions, check_portable, escapes
from wherry.testing import hostile_manifests
from wherry.testing.trees import MemoryTree, unfold

pytestmark = pytest.mark.uncounted  # coverage would double its time, and adds few lines

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/manifest.json").read_text())
CASES = list(hostile_manifests.cases())


@pytest.fixture(scope="module")
def tree():
    made = MemoryTree()
    sub = made.directory("sub", [made.file("a", b"12345678901"), made.file("empty", b""), Entry("l", LINK, target="../x")])
    return made, made.directory("", [sub, made.file("x", b"x", attrs=Attrs(True)), made.directory("void", [])])


def test_a_walk_gives_everything_in_order(tree):
    made, root = tree
    seen = []
    for step in made.drive(Walk(root)):
        match step:
            case EnterDir(path, _) | LeaveDir(path, _) | EnterFile(path, _) | LeaveFile(path, _) | LinkStep(path, _):
                seen.append((type(step).__name__, path))
            case Leaf(cid, offset, size):
                assert len(made.blocks[cid]) == size
                seen.append((offset, size))
    assert seen == [
        ("EnterDir", ""),
        ("EnterDir", "sub"),
        ("EnterFile", "sub/a"), (0, 10), (10, 1), ("LeaveFile", "sub/a"),
        ("EnterFile", "sub/empty"), ("LeaveFile", "sub/empty"),
        ("LinkStep", "sub/l"),
        ("LeaveDir", "sub"),
        ("EnterDir", "void"), ("LeaveDir", "void"),
        ("EnterFile", "x"), (0, 1), ("LeaveFile", "x"),
        ("LeaveDir", ""),
    ]  # fmt: skip


def test_entries_come_whole(tree):
    made, root = tree
    entries = {step.path: step.entry for step in made.drive(Walk(root)) if isinstance(step, EnterFile | LinkStep | EnterDir)}
    assert entries["x"] == Entry("x", FILE, CID.of(RAW, b"x"), 1, 1, Attrs(True))
    assert entries["sub/l"].target == "../x"
    assert entries[""] == root == Entry("", DIR, root.cid, 12, 7)


@pytest.mark.parametrize("vector", VECTORS["trees"], ids=lambda vector: vector["about"])
def test_trees_of_the_vectors(vector):
    blocks = {CID.parse(cid): bytes.fromhex(data) for cid, data in vector["blocks"].items()}
    steps = unfold(CID.parse(vector["root"]), blocks)
    listing = [
        [step.path, step.entry.kind, step.entry.size, step.entry.entries]
        for step in steps
        if isinstance(step, EnterFile | EnterDir | LinkStep)
    ]
    assert listing == vector["listing"]


@pytest.mark.parametrize("vector", VECTORS["invalid_trees"], ids=lambda vector: vector["about"])
def test_invalid_trees_of_the_vectors(vector):
    blocks = {CID.parse(cid): bytes.fromhex(data) for cid, data in vector["blocks"].items()}
    with pytest.raises(errors.WherryError) as caught:
        list(unfold(CID.parse(vector["root"]), blocks))
    assert type(caught.value) is getattr(errors, vector["error"])


# Hostile manifests


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hostile_manifests_are_refused_where_they_say(case):
    for cid, data in case.blocks.items():
        assert CID.of(cid.codec, data) == cid
    if case.met == "model":
        with pytest.raises(case.error) as caught:
            list(unfold(case.root, case.blocks))
        assert type(caught.value) is case.error
        assert len(str(caught.value)) < 400
    elif case.met == "size":
        root = root_of(Block(case.root, case.blocks[case.root])).entry
        assert root.entries > TREE_ENTRIES_MAX or root.size > 1 << 50
    else:
        steps = list(unfold(case.root, case.blocks))
        leaves = [step for step in steps if isinstance(step, Leaf)]
        if case.met == "leaf":
            assert any(len(case.blocks[leaf.cid]) != leaf.size for leaf in leaves)
        else:
            with pytest.raises(UnsafeName):
                write_by_the_rules(steps)


def write_by_the_rules(steps) -> None:
    collisions = Collisions("")
    for step in steps:
        if isinstance(step, EnterFile | LinkStep):
            check_portable(step.entry.name, step.path)
            collisions.add(step.entry.name)
            if step.entry.kind == LINK and escapes(step.path, step.entry.target):
                raise UnsafeName("a link out of the dataset")
    collisions.finish()


def test_there_are_cases_of_every_sort():
    assert len({case.name for case in CASES}) == len(CASES) > 90
    assert {case.met for case in CASES} == {"model", "leaf", "write", "size"}
    assert {case.error for case in CASES} == {DecodeError, IntegrityError, LimitExceeded, UnsafeName}


@st.composite
def trees(draw):
    """A tree of random shape, as (path -> entry builder) done at once: gives the Tree and its root."""
    made = MemoryTree()

    def directory(depth: int, name: str) -> Entry:
        entries = []
        for index in range(draw(st.integers(0, 3))):
            kind = draw(st.sampled_from("fdl" if depth < 3 else "fl"))
            if kind == "d":
                entries.append(directory(depth + 1, f"{kind}{index}"))
            elif kind == "f":
                entries.append(made.file(f"{kind}{index}", draw(st.binary(max_size=35))))
            else:
                entries.append(Entry(f"{kind}{index}", LINK, target="x"))
        return made.directory(name, entries)

    return made, directory(0, "")


@given(trees())
@settings(deadline=None)
def test_sizes_and_counts_are_those_of_what_is_given(drawn):
    made, root = drawn
    steps = list(made.drive(Walk(root)))
    assert sum(step.size for step in steps if isinstance(step, Leaf)) == root.size
    assert sum(isinstance(step, EnterDir | EnterFile | LinkStep) for step in steps) == root.entries
    assert sum(isinstance(step, EnterDir | EnterFile) for step in steps) == sum(
        isinstance(step, LeaveDir | LeaveFile) for step in steps
    )


@given(trees(), st.data())
@settings(deadline=None)
def test_every_lie_is_found_before_anything_below_is_given(drawn, data):
    """One number of one directory is changed; the nodes above follow, so that only this one lies."""
    made, root = drawn
    path, lie, field = [], data.draw(st.sampled_from([-1, 1, 7])), data.draw(st.sampled_from(["size", "entries"]))
    entry = root
    while True:
        node = manifest.decode(Block(entry.cid, made.blocks[entry.cid]))
        inner = [item for item in node.entries if item.kind == DIR or (item.kind == FILE and item.cid.codec == DAG_CBOR)]
        if not inner or (path and data.draw(st.booleans())):
            break
        path.append(data.draw(st.sampled_from(inner)))
        entry = path[-1]
        if entry.kind == FILE:
            break
    if not path:
        return
    if path[-1].kind == FILE:
        field = "size"
    false = path[-1]._replace(**{field: max(getattr(path[-1], field) + lie, 0 if field == "size" else 1)})
    if false == path[-1] or (false.kind == FILE and false.size == 0):
        return
    above = [root, *path[:-1]]
    changed = false
    while above:
        parent = above.pop()
        entries = manifest.decode(Block(parent.cid, made.blocks[parent.cid])).entries
        changed = made.directory(parent.name, [changed if item.name == changed.name else item for item in entries])
    where = "/".join(item.name for item in path)
    seen = []
    with pytest.raises(IntegrityError):
        seen.extend(made.drive(Walk(changed)))  # keeps what came before the error
    assert not [step for step in seen if getattr(step, "path", "").startswith(f"{where}/")]
    assert isinstance(seen[-1], EnterDir | EnterFile)
    assert seen[-1].path == where
    if path[-1].kind == DIR:
        with pytest.raises(IntegrityError):
            made.find(changed, f"{where}/anything")


# Ranges


@st.composite
def shaped_files(draw):
    """A file of leaves of any sizes, under nodes of any widths: what another writer may make."""
    made = MemoryTree()
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=12))
    level = [(made.file("", bytes([number]) * size, leaf_bytes=size).cid, size) for number, size in enumerate(sizes)]
    for _ in range(draw(st.integers(0 if len(sizes) == 1 else 1, 3))):
        groups = [[level[0]]]
        for item in level[1:]:
            if draw(st.booleans()):
                groups.append([])
            groups[-1].append(item)
        level = [keep_file(made, group) for group in groups]
    cid, size = level[0] if len(level) == 1 else keep_file(made, level)
    return made, Entry("f", FILE, cid, size), sizes


def keep_file(made: MemoryTree, parts) -> tuple[CID, int]:
    block = manifest.file_block([cid for cid, _ in parts], [size for _, size in parts])
    made.keep(block)
    return block.cid, sum(size for _, size in parts)


@given(shaped_files(), st.integers(-2, 50), st.none() | st.integers(-2, 50))
@settings(deadline=None, max_examples=300)
def test_a_range_gives_exactly_the_leaves_that_touch_it(drawn, start, stop):
    made, entry, sizes = drawn
    leaves = [step for step in made.drive(Walk(entry, path="f", start=start, stop=stop)) if isinstance(step, Leaf)]
    wanted = range(max(start, 0), entry.size if stop is None else min(stop, entry.size))
    expected, offset = [], 0
    for number, size in enumerate(sizes):
        if any(byte in wanted for byte in range(offset, offset + size)):
            expected.append((bytes([number]) * size, offset, size))
        offset += size
    assert [(made.blocks[leaf.cid], leaf.offset, leaf.size) for leaf in leaves] == expected


def test_every_range_of_a_file_of_one_leaf_and_of_an_empty_one():
    made = MemoryTree()
    for size in (0, 1, 3):
        entry = made.file("f", bytes(size))
        for start in range(-1, 5):
            for stop in (None, *range(-1, 5)):
                leaves = [step for step in made.drive(Walk(entry, start=start, stop=stop)) if isinstance(step, Leaf)]
                assert len(leaves) == bool(set(range(size)[max(start, 0) : None if stop is None else max(stop, 0)]))


def test_order_is_looked_at_in_each_large_directory_alone():
    """Two directories of pieces beside each other: the names of the second begin anew."""
    made = MemoryTree()
    large = [made.directory(name, (made.file(f"{name}{number:04}", b"x") for number in range(1100))) for name in ("z", "a")]
    root = made.directory("", [large[0]._replace(name="1"), large[1]._replace(name="2")])
    assert sum(isinstance(step, EnterFile) for step in made.drive(Walk(root))) == 2200


@pytest.fixture(scope="module")
def deep():
    """A file of 1,025 nodes on two levels and 1,048,577 leaves of 4 KiB, with no bytes behind them."""
    made = MemoryTree()
    builder = FileBuilder(made.keep)
    leaf = CID.of(RAW, bytes(4096))
    for _ in range(1024 * 1024 + 1):
        builder.add(leaf, 4096)
    return made, Entry("f", FILE, builder.finish(), builder.size)


@given(data=st.data())
@settings(deadline=None, max_examples=50)
def test_any_range_of_a_deep_file_takes_few_nodes(deep, data):
    made, entry = deep
    start = data.draw(st.integers(0, entry.size - 1))
    length = data.draw(st.integers(1, 40_000))
    stop = min(start + length, entry.size)
    walk, nodes, leaves = Walk(entry, start=start, stop=stop), 0, []
    while (step := walk.step()) is not None:
        if isinstance(step, Need):
            nodes += 1
            walk.supply(Block(step.cid, made.blocks[step.cid]))
        elif isinstance(step, Leaf):
            leaves.append(step)
    assert [leaf.offset for leaf in leaves] == list(range(start - start % 4096, stop, 4096))
    assert nodes <= 5  # a path of three, and at most one neighbour on each of the two levels
