"""A walk's protocol of need and supply, and what bounds its memory and steps (specs/0003 §7)."""

from __future__ import annotations

import sys
import tracemalloc
from itertools import islice

import pytest

from wherry import manifest
from wherry.block import Block
from wherry.cid import CID, RAW
from wherry.dag import walk as walk_module
from wherry.dag.walk import EnterDir, EnterFile, Leaf, LeaveDir, LeaveFile, LinkStep, Need, Walk, root_of
from wherry.errors import IntegrityError, LimitExceeded, UnsafeName
from wherry.manifest import FILE, LINK, Attrs, Entry
from wherry.testing import hostile_manifests
from wherry.testing.hostile_manifests import Maker
from wherry.testing.trees import MemoryTree, unfold


@pytest.fixture(scope="module")
def tree():
    made = MemoryTree()
    sub = made.directory("sub", [made.file("a", b"12345678901"), made.file("empty", b""), Entry("l", LINK, target="../x")])
    return made, made.directory("", [sub, made.file("x", b"x", attrs=Attrs(True)), made.directory("void", [])])


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
    made = MemoryTree()
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
    made = MemoryTree(make.blocks)
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
    assert [(type(step).__name__, getattr(step, "path", "")) for step in steps] == [
        ("EnterDir", "void"), ("LeaveDir", "void"), ("EnterFile", "x"), ("Leaf", ""), ("LeaveFile", "x"), ("LeaveDir", ""),
    ]  # fmt: skip


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


@pytest.mark.slow
def test_a_large_directory_is_walked_with_one_node_a_level_held():
    """100,000 entries: what bounds a million is the same structure, one node a level."""
    made = MemoryTree()
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


@pytest.mark.slow
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


def test_pieces_may_be_eight_deep_and_no_deeper():
    eight, nine = hostile_manifests.nested_shards(8), hostile_manifests.nested_shards(9)
    assert sum(isinstance(step, EnterFile) for step in unfold(eight.root, eight.blocks)) == 9
    with pytest.raises(LimitExceeded, match="more than 8 deep"):
        list(unfold(nine.root, nine.blocks))


def test_tiny_leaves_have_a_bound(monkeypatch):
    monkeypatch.setattr(walk_module, "_SMALL_LEAVES_MAX", 2000)
    case = hostile_manifests.expanding_file(3)
    steps = unfold(case.root, case.blocks)
    assert sum(1 for _ in islice(steps, 2001)) == 2001
    with pytest.raises(LimitExceeded, match="leaves have less than 4096 bytes"):
        next(steps)


def test_small_files_and_last_leaves_do_not_count_as_tiny_leaves(monkeypatch):
    monkeypatch.setattr(walk_module, "_SMALL_LEAVES_MAX", 0)
    made = MemoryTree()
    root = made.directory(
        "", [made.file("a", b"x"), made.file("b", bytes(4097), leaf_bytes=4096), made.file("c", bytes(8192), leaf_bytes=4096)]
    )
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
