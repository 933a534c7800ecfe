"""Walking: whole trees, ranges, and every hostile manifest (specs/0003 §7)."""

from __future__ import annotations

import json
import sys
import tracemalloc
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry import errors, manifest
from wherry.block import EMPTY_LEAF, Block, named
from wherry.chunking import FixedChunker
from wherry.cid import CID, DAG_CBOR, RAW
from wherry.dag import walk as walk_module
from wherry.dag.build import DirBuilder, FileBuilder
from wherry.dag.walk import EnterDir, EnterFile, Leaf, LeaveDir, LeaveFile, LinkStep, Need, Root, Walk, find, root_of
from wherry.errors import DecodeError, IntegrityError, LimitExceeded, NotFound, UnsafeName
from wherry.limits import TREE_ENTRIES_MAX
from wherry.manifest import DIR, FILE, LINK, Attrs, Entry
from wherry.names import Collisions, check_portable, escapes
from wherry.testing import hostile_manifests
from wherry.testing.hostile_manifests import Maker, unfold

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/manifest.json").read_text())
CASES = list(hostile_manifests.cases())


class Tree:
    """A tree built in memory: ``blocks`` by CID."""

    def __init__(self):
        self.blocks: dict[CID, bytes] = {}

    def keep(self, block: Block) -> None:
        self.blocks[block.cid] = block.data

    def file(self, name: str, data: bytes, leaf_bytes: int = 10, attrs: Attrs = manifest.PLAIN) -> Entry:
        builder = FileBuilder(self.keep)
        for offset, length in FixedChunker(leaf_bytes).cuts(len(data)):
            leaf = named(RAW, data[offset : offset + length])
            self.keep(leaf)
            builder.add(leaf.cid, length)
        return Entry(name, FILE, builder.finish(), len(data), 1, attrs)

    def directory(self, name: str, entries) -> Entry:
        builder = DirBuilder(self.keep)
        for entry in sorted(entries):
            builder.add(entry)
        return Entry(name, DIR, builder.finish(), builder.size, builder.entries + 1)

    def find(self, root: Entry, path: str) -> tuple[Entry, int]:
        """Gives the entry and how many nodes it took."""
        search, asked = find(root, path), 0
        try:
            cid = next(search)
            while True:
                asked += 1
                cid = search.send(Block(cid, self.blocks[cid]))
        except StopIteration as done:
            return done.value, asked

    def drive(self, walk: Walk):
        while (step := walk.step()) is not None:
            if isinstance(step, Need):
                walk.supply(Block(step.cid, self.blocks[step.cid]))
            else:
                yield step


@pytest.fixture(scope="module")
def tree():
    made = Tree()
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
    made = Tree()

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


@given(st.integers(0, 400), st.integers(1, 40), st.integers(-5, 420), st.none() | st.integers(-5, 420))
@settings(deadline=None)
def test_a_range_gives_exactly_the_leaves_that_touch_it(size, leaf_bytes, start, stop):
    made = Tree()
    entry = made.file("f", bytes(number % 251 for number in range(size)), leaf_bytes)
    given_leaves = [step for step in made.drive(Walk(entry, path="f", start=start, stop=stop)) if isinstance(step, Leaf)]
    last = size if stop is None else stop
    expected = [
        (offset, length)
        for offset, length in FixedChunker(leaf_bytes).cuts(size)
        if any(start <= byte < last for byte in range(offset, offset + length))
    ]
    assert [(leaf.offset, leaf.size) for leaf in given_leaves] == expected


@pytest.fixture(scope="module")
def deep():
    """A file of 1,025 nodes on two levels and 1,048,577 leaves of 4 KiB, with no bytes behind them."""
    made = Tree()
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


# The protocol of need and supply


def test_a_block_that_was_not_asked_for_is_not_taken(tree):
    made, root = tree
    other = manifest.dir_block([])
    walk = Walk(root)
    with pytest.raises(IntegrityError, match="not the one"):
        walk.supply(other)
    walk.step()
    assert isinstance(walk.step(), Need)
    with pytest.raises(IntegrityError, match="not the one"):
        walk.supply(other)
    walk.supply(Block(root.cid, made.blocks[root.cid]))
    assert isinstance(walk.step(), EnterDir)


def test_what_is_needed_is_asked_again_until_it_comes(tree):
    _, root = tree
    walk = Walk(root)
    walk.step()
    assert walk.step() == walk.step() == Need(root.cid, [])


def test_nodes_ahead_are_named_once_and_in_order():
    made = Tree()
    files = [made.file(f"f{number:03}", bytes([number % 200]) * 20) for number in range(300)]
    root = made.directory("", [*files, made.file("a", b"x"), Entry("b", LINK, target="x")])
    walk = Walk(root)
    walk.step()
    walk.supply(Block(root.cid, made.blocks[root.cid]))
    while not isinstance(step := walk.step(), Need):
        pass
    assert step.cid == files[0].cid
    assert step.ahead == list(dict.fromkeys(entry.cid for entry in files[1:200]))


def test_an_error_does_not_let_the_walk_go_on():
    make = Maker()
    inner = make.directory(["a", "f", make.leaf(b"x"), 1])
    root = make.directory(["d", "d", inner, 2, 2], ["e", "f", make.leaf(b"x"), 1])
    walk = Walk(root_of(Block(root, make.blocks[root])).entry)
    made = Tree()
    made.blocks = make.blocks
    assert [step.path for step in islice(made.drive(walk), 2)] == ["", "d"]
    for _ in range(3):
        with pytest.raises(IntegrityError):
            next(made.drive(walk))


def test_what_is_skipped_is_left_out_and_the_rest_goes_on(tree):
    made, root = tree
    walk = Walk(root)
    paths = []
    for step in made.drive(walk):
        paths.append((type(step).__name__, getattr(step, "path", "")))
        if isinstance(step, EnterDir | EnterFile) and step.path in {"sub", "x"}:
            walk.skip()
    assert paths == [
        ("EnterDir", ""),
        ("EnterDir", "sub"),
        ("EnterDir", "void"),
        ("LeaveDir", "void"),
        ("EnterFile", "x"),
        ("LeaveDir", ""),
    ]


def test_a_skip_behind_a_supplied_node_forgets_the_node(tree):
    made, root = tree
    walk = Walk(root)
    steps = made.drive(walk)
    while not (isinstance(step := next(steps), EnterDir) and step.path == "sub"):
        pass
    need = walk.step()
    walk.supply(Block(need.cid, made.blocks[need.cid]))
    walk.skip()
    assert next(steps).path == "void"


def test_the_rest_of_a_directory_can_be_skipped(tree):
    made, root = tree
    walk = Walk(root)
    for step in made.drive(walk):
        if isinstance(step, Leaf) and step.offset == 0:
            walk.skip()  # the rest of this file
        assert not (isinstance(step, LeaveFile) and step.path == "sub/a")
        if isinstance(step, LinkStep):
            walk.skip()  # the rest of its directory
        assert not (isinstance(step, LeaveDir) and step.path == "sub")
    assert walk._held_bytes == 0


# Bounds


def test_a_large_directory_is_walked_with_one_node_a_level_held():
    """100,000 entries: what bounds a million is the same structure, one node a level."""
    made = Tree()
    leaf = CID.of(RAW, b"x")
    root = made.directory("", (Entry(f"n{number:07}", FILE, leaf, 1) for number in range(100_000)))
    walk, most, count = Walk(root), 0, 0
    for step in made.drive(walk):
        count += isinstance(step, EnterFile)
        most = max(most, len(walk._stack))
    assert count == 100_000
    assert most <= 2048 + 16
    assert walk._held_bytes == 0
    assert list(walk._before) == [0]


def wide_and_deep(depth: int, width: int, name: str, target: str = "x") -> tuple[CID, dict[CID, bytes]]:
    """Directories in one another, each with many links behind the inner one."""
    make = Maker()
    inner, count = make.directory(), 1
    for _ in range(depth):
        links = ([f"l{number:04}{name}", "l", target] for number in range(width))
        inner = make.directory(["d", "d", inner, 0, count], *links)
        count += width + 1
    return inner, make.blocks


@pytest.mark.parametrize(
    ("depth", "width", "name", "target"),
    [(120, 1000, "", "x"), (100, 1000, "n" * 40, "x"), (120, 240, "", "t" * 4090), (120, 240, "", "\U0001f600" + "t" * 4080)],
)
def test_wide_directories_in_one_another_end_before_the_memory_does(depth, width, name, target):
    root, blocks = wide_and_deep(depth, width, name, target)
    tracemalloc.start()
    try:
        with pytest.raises(LimitExceeded, match="nested so deep"):
            list(islice(unfold(root, blocks), 10_000))
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_usual_trees_are_far_from_that_bound():
    root, blocks = wide_and_deep(25, 1000, "a name of usual length.txt")
    assert sum(1 for _ in unfold(root, blocks)) == 25 * 1002 + 2


def test_tiny_leaves_have_a_bound(monkeypatch):
    monkeypatch.setattr(walk_module, "_SMALL_LEAVES_MAX", 2000)
    case = hostile_manifests.expanding_file(3)
    steps = unfold(case.root, case.blocks)
    assert sum(1 for _ in islice(steps, 2001)) == 2001
    with pytest.raises(LimitExceeded, match="leaves have less than 4096 bytes"):
        next(steps)


def test_small_files_and_last_leaves_do_not_count_as_tiny_leaves(monkeypatch):
    monkeypatch.setattr(walk_module, "_SMALL_LEAVES_MAX", 0)
    made = Tree()
    root = made.directory("", [made.file("a", b"x"), made.file("b", bytes(4097), 4096), made.file("c", bytes(8192), 4096)])
    assert sum(isinstance(step, Leaf) for step in made.drive(Walk(root))) == 5


def test_steps_are_no_more_than_the_root_declares():
    """Few blocks, a billion entries: the count is honest, so whoever looks at it before is warned."""
    case = hostile_manifests.expanding_directories(1000, 3)
    root = root_of(Block(case.root, case.blocks[case.root])).entry
    assert root.entries == 1 + 1000 + 1000**2 + 1000**3
    walk = Walk(root)
    assert isinstance(walk.step(), EnterDir)
    small = hostile_manifests.expanding_directories(20, 3)
    root = root_of(Block(small.root, small.blocks[small.root])).entry
    assert sum(isinstance(step, EnterDir) for step in unfold(small.root, small.blocks)) == root.entries == 8421


def test_a_long_path_is_refused():
    make = Maker()
    inner, count = make.directory(), 1
    for _ in range(20):
        inner, count = make.directory(["n" * 250, "d", inner, 0, count]), count + 1
    with pytest.raises(UnsafeName, match="longer than 4096"):
        list(unfold(inner, make.blocks))


def test_frames_share_the_path_of_their_directory():
    """A thousand full paths a node, a hundred nodes deep, would be much memory."""
    root, blocks = wide_and_deep(20, 50, "")
    walk = Walk(root_of(Block(root, blocks[root])).entry)
    for step in iter(walk.step, None):
        if isinstance(step, Need):
            walk.supply(Block(step.cid, blocks[step.cid]))
        if isinstance(step, LinkStep):
            break
    texts = {id(frame.path): sys.getsizeof(frame.path) for frame in walk._stack}
    assert len(walk._stack) > 900
    assert len(texts) <= 21


# Roots and finding


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
    made = Tree()
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
    made = Tree()
    made.blocks = case.blocks
    return made.find(entry, path)


def test_find_refuses_what_the_walk_refuses():
    by_name = {case.name: case for case in CASES}
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
            search(by_name[name], path)
    with pytest.raises(LimitExceeded):
        search(by_name["pieces without end"], "n0049")
