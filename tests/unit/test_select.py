"""Patterns, and which steps of a walk they take; the rules for names and links."""

from __future__ import annotations

import pytest

from wherry.block import EMPTY_LEAF
from wherry.dag.walk import EnterDir, EnterFile, LeaveDir, LinkStep, Walk
from wherry.errors import UnsafeName
from wherry.manifest import DIR, FILE, LINK, Entry
from wherry.testing.trees import MemoryTree
from wherry.transfer.select import Guard, Selection, chosen


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.txt", "a/b/c.txt", True),
        ("*.txt", "a.txt/b", True),  # of a directory that matches, everything
        ("*.TXT", "a.txt", False),
        ("a", "a/b/c", True),
        ("a", "b/a/c", True),
        ("a/b", "a/b/c", True),
        ("a/b", "x/a/b", False),
        ("a/*", "a/b/c", True),
        ("/a/b/", "a/b", True),
        ("a/[bc]", "a/c", True),
        ("[!a]*", "b", True),
        ("?", "ab", False),
        (".*", ".hidden", True),
        ("ä*", "ähnlich", True),
    ],
)
def test_patterns(pattern, path, matches):
    assert Selection([pattern]).takes(path) == matches
    assert Selection([], [pattern]).takes(path) != matches


def test_excluding_goes_before_including():
    assert not Selection(["*"], ["a"]).takes("a")
    assert Selection(["*"], ["a"]).takes("b")
    assert Selection().everything
    assert not Selection([], ["x"]).everything


def test_selections_are_told_apart():
    kinds = [
        Selection(),
        Selection(["a"]),
        Selection([], ["a"]),
        Selection(["a", "b"]),
        Selection(["b", "a"]),
        Selection(["ab"]),
    ]
    assert len({kind.identity for kind in kinds}) == len(kinds)
    assert Selection(["a"]).identity == Selection(["a"]).identity
    assert Selection().identity == ""


@pytest.fixture
def tree():
    made = MemoryTree()
    deep = made.directory("deep", [made.file("x.txt", b"1"), made.file("y.bin", b"2")])
    a = made.directory("a", [deep, made.file("z.bin", b"3")])
    empty = made.directory("empty", [])
    return made, made.directory("", [a, empty, made.file("top.txt", b"4"), Entry("link", LINK, EMPTY_LEAF, 0, 1, target="a")])


async def steps(tree, *patterns, **kinds):
    made, root = tree
    walk = Walk(root)

    async def all_steps():
        for step in made.drive(walk):
            yield step

    found = []
    async for step in chosen(all_steps(), walk, Selection(*patterns, **kinds)):
        if isinstance(step, EnterDir | EnterFile | LinkStep):
            found.append(step.path)
        elif isinstance(step, LeaveDir):
            found.append(f"-{step.path}")
    return found


async def test_everything_is_chosen(tree):
    whole = [
        "",
        "a",
        "a/deep",
        "a/deep/x.txt",
        "a/deep/y.bin",
        "-a/deep",
        "a/z.bin",
        "-a",
        "empty",
        "-empty",
        "link",
        "top.txt",
        "-",
    ]
    assert await steps(tree) == whole


async def test_directories_with_nothing_chosen_are_not_entered_and_not_left(tree):
    assert await steps(tree, ["y.bin"]) == ["", "a", "a/deep", "a/deep/y.bin", "-a/deep", "-a", "-"]
    assert await steps(tree, ["top.txt"]) == ["", "top.txt", "-"]
    assert await steps(tree, ["none"]) == []
    assert await steps(tree, [], ["deep"]) == ["", "a", "a/z.bin", "-a", "link", "top.txt", "-"]
    assert await steps(tree, [], ["a", "link"]) == ["", "top.txt", "-"]


def file_step(path):
    return EnterFile(path, Entry(path.rpartition("/")[2], FILE, EMPTY_LEAF, 0, 1))


def dir_step(path):
    return EnterDir(path, Entry(path.rpartition("/")[2], DIR, EMPTY_LEAF, 0, 1))


def test_names_collide_within_a_directory_and_not_across():
    guard = Guard("portable", "refuse")
    guard.enter(dir_step(""))
    guard.enter(dir_step("a"))
    guard.enter(file_step("a/X"))
    guard.leave_dir()
    guard.enter(file_step("x"))
    with pytest.raises(UnsafeName):
        guard.enter(file_step("X"))
    posix = Guard("posix", "refuse")
    posix.enter(dir_step(""))
    for name in ("x", "X", "a:b", "NUL"):
        posix.enter(file_step(name))
    posix.leave_dir()


@pytest.mark.parametrize(("links", "taken"), [("refuse", None), ("skip", False), ("keep", True)])
def test_links_that_escape(links, taken):
    guard = Guard("portable", links)
    step = LinkStep("a/link", Entry("link", LINK, EMPTY_LEAF, 0, 1, target="../../x"))
    if taken is None:
        with pytest.raises(UnsafeName, match="a/link"):
            guard.takes_link(step)
    else:
        assert guard.takes_link(step) == taken
        assert guard.skipped_links == (not taken)
    assert guard.takes_link(LinkStep("a/link", Entry("link", LINK, EMPTY_LEAF, 0, 1, target="../x")))
