"""What lies in several places, and the sums of the store: specs/0005 §8."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random

import pytest

from wherry.cid import CID, RAW
from wherry.errors import StoreError
from wherry.results import EqualFiles, SharedBytes
from wherry.session import Session
from wherry.store import duplicates
from wherry.store.duplicates import Duplicates
from wherry.store.index import FileRecord, Index, LeafRow, Signature
from wherry.store.usage import store_stat

KIB = 1 << 10


@pytest.fixture
def index(tmp_path):
    opened = Index(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def known(index, tmp_path):
    """Writes a file of leaves, each named by a letter and as long as said, and records it."""

    def write(name, leaves, size=KIB, cut="fixed:1KiB", cid=True):
        path = tmp_path / name
        if not path.exists():
            path.write_bytes(b"".join(letter.encode() * size for letter in leaves))
        rows = [LeafRow(hashlib.sha256(letter.encode() * size).digest(), n * size, size) for n, letter in enumerate(leaves)]
        named = CID.of(RAW, f"{leaves}{size}".encode()) if cid else None
        index.record([FileRecord(str(path), Signature.of(os.stat(path)), named, cut, rows)])
        return path

    return write


def found(index, what, **options):
    look = Duplicates(index, **options)
    try:
        return list(getattr(look, what)())
    finally:
        look.close()


def test_equal_files_are_grouped_those_first_that_would_save_most(index, known, tmp_path):
    for name, leaves in (("a1", "ab"), ("a2", "ab"), ("b1", "cdefg"), ("b2", "cdefg"), ("b3", "cdefg"), ("c", "z")):
        known(name, leaves)
    first, second = found(index, "equal")
    assert [os.path.basename(path) for path in first.paths] == ["b1", "b2", "b3"]
    assert (first.copies, first.bytes, first.cut) == (3, 5 * KIB, "fixed:1KiB")
    assert second.paths == [str(tmp_path / "a1"), str(tmp_path / "a2")]
    assert found(index, "equal", min_bytes=5 * KIB) == [first]
    assert found(index, "equal", min_bytes=5 * KIB + 1) == []


def test_hard_links_and_two_ways_of_cutting_are_one_file(index, known, tmp_path):
    path = known("a", "ab")
    os.link(path, tmp_path / "link")
    known("a", "ab")  # the link has changed its times
    known("link", "ab")
    known("a", "ab", cut="fixed:2KiB")
    assert found(index, "equal") == []
    assert found(index, "shared") == []
    known("copy", "ab")
    [group] = found(index, "equal")
    assert group.copies == 2


def test_what_has_changed_since_is_left_out(index, known):
    first, second = known("a1", "ab"), known("a2", "ab")
    known("b1", "abc")
    assert len(found(index, "equal")) == 1
    assert {(pair.path, pair.other) for pair in found(index, "shared")} == {(str(first), str(first.parent / "b1"))}
    second.write_bytes(b"other")
    assert found(index, "equal") == []
    first.unlink()
    assert found(index, "shared") == []


def test_many_copies_are_counted_and_a_few_named(index, known, monkeypatch):
    monkeypatch.setattr(duplicates, "_PAGE", 7)
    for number in range(30):
        known(f"a{number:02}", "ab")
    [group] = found(index, "equal")
    assert group.copies == 30
    assert [os.path.basename(path) for path in group.paths] == [f"a{number:02}" for number in range(duplicates.PATHS_MAX)]


def test_pairs_say_how_much_they_share(index, known, monkeypatch):
    monkeypatch.setattr(duplicates, "_PAGE", 2)  # a pair's leaves are in several pages
    first, second, third = known("one", "abcdef"), known("two", "abcdxyz"), known("three", "ab")
    shared = {(pair.path, pair.other): (pair.bytes, pair.leaves) for pair in found(index, "shared")}
    assert shared == {(str(first), str(second)): (4 * KIB, 4), (str(first), str(third)): (2 * KIB, 2)}
    assert [pair.bytes for pair in found(index, "shared")] == [4 * KIB, 2 * KIB]
    assert [pair.leaves for pair in found(index, "shared", min_bytes=3 * KIB)] == [4]


@pytest.mark.parametrize("page", [1, 3, 5000])
def test_against_a_plain_count(index, known, monkeypatch, page):
    """Any trees, whatever the size of pages: equal files by their content, pairs by their common leaves with the first."""
    monkeypatch.setattr(duplicates, "_PAGE", page)
    chance = random.Random(7)
    contents = {}
    for number in range(25):
        leaves = "".join(sorted(set(chance.choices("abcdefgh", k=chance.randint(1, 3)))))
        contents[str(known(f"f{number:02}", leaves))] = leaves
    by_content, first_of, pairs = {}, {}, {}
    for path, leaves in contents.items():
        by_content.setdefault(leaves, []).append(path)
    places = {}
    for path, leaves in contents.items():
        for letter in leaves:
            first = first_of.setdefault(letter, path)
            kept = places.setdefault(letter, 0)
            if path != first and kept < 8:  # no more places are kept
                places[letter] += 1
                if contents[first] != leaves:
                    pairs[first, path] = pairs.get((first, path), 0) + KIB
    groups = {tuple(group.paths) for group in found(index, "equal")}
    assert groups == {tuple(paths) for paths in by_content.values() if len(paths) > 1}
    assert {(pair.path, pair.other): pair.bytes for pair in found(index, "shared")} == pairs


def test_it_can_be_given_up(index, known):
    known("a1", "ab")
    known("a2", "ab")
    assert found(index, "equal", stopped=lambda: True) == []
    assert found(index, "shared", stopped=lambda: True) == []


def test_a_full_disk_is_an_error_of_the_store(index, known):
    known("a1", "ab")
    known("a2", "ab")
    look = Duplicates(index)
    look._write = lambda query, rows: look._scratch.execute("INSERT INTO nowhere VALUES (1)")
    with pytest.raises(StoreError, match="temporary files"):
        list(look.equal())
    look.close()


def test_the_sums_of_the_store(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "a").write_bytes(bytes(3 * KIB))
    (data / "b").write_bytes(bytes(3 * KIB))
    (data / "c").write_bytes(random.Random(1).randbytes(5 << 20))
    (data / "empty").touch()

    async def work():
        async with Session.open(home=tmp_path / "home", environ={}) as session:
            nothing = await session.store_stat()
            await session.add(str(data))
            added = await session.store_stat()
            await session.add(str(data))
            assert await session.store_stat() == added
            cut = await session.add(str(data / "c"), chunker="fastcdc:64KiB")
            return nothing, added, cut, await session.store_stat(), [item async for item in session.duplicates()]

    nothing, added, cut, both, items = asyncio.run(work())
    assert (nothing.files, nothing.bytes, nothing.saved, nothing.cuts) == (0, 0, 0.0, [])
    logical, unique = (5 << 20) + 6 * KIB, (5 << 20) + 3 * KIB
    assert (added.files, added.bytes, added.unique_bytes, added.leaves) == (4, logical, unique, 6)
    assert added.saved == pytest.approx(1 - unique / logical)
    assert added.nodes > 0
    assert added.stored_bytes >= added.nodes_bytes > 0
    assert [each.cut for each in both.cuts] == ["fastcdc:64KiB", "fixed:1MiB"]
    assert both.cuts[0].unique_bytes == cut.unique_bytes == 5 << 20
    assert both.bytes == logical + (5 << 20)
    [equal] = [item for item in items if isinstance(item, EqualFiles)]
    assert {os.path.basename(path) for path in equal.paths} == {"a", "b"}
    assert not [item for item in items if isinstance(item, SharedBytes)]


def test_counting_can_be_given_up(tmp_path):
    async def work():
        async with Session.open(home=tmp_path / "home", environ={}) as session:
            (tmp_path / "a").write_bytes(b"a")
            await session.add(str(tmp_path / "a"))
            return store_stat(session.home, session._store, lambda: True)

    assert asyncio.run(work()).files == 0
