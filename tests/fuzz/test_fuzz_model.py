"""Any bytes, into every decoder of the model: only typed errors leave, and memory stays bounded.

``corpus/`` keeps blocks, one a file, named by what they try; what is ever found goes there. All are given to every
decoder.
"""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from mutation import mutated

from wherry import dagcbor, manifest
from wherry.block import Block
from wherry.cid import CID, CODECS, DAG_CBOR, DAG_PB, RAW
from wherry.dag.walk import find, root_of
from wherry.errors import DataError, NotFound, WherryError
from wherry.limits import NODE_BYTES_MAX
from wherry.manifest import DIR
from wherry.names import Collisions, check_name, check_path, check_portable, check_target, escapes, folded
from wherry.testing import hostile_manifests
from wherry.testing.hostile_manifests import Maker
from wherry.testing.trees import unfold

CORPUS = sorted(path for path in Path(__file__).with_name("corpus").glob("*/*") if path.is_file())
MEMORY_MAX = 24 * NODE_BYTES_MAX  # what a block of the largest size may become: small strings in lists cost most

CID_OF_X = [CID.of(codec, b"x") for codec in CODECS]
TEXT = st.text(max_size=12)
SIZES = (
    st.integers(-1, 40)
    | st.sampled_from([1 << 20, 1 << 60, (1 << 64) - 1])
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
)
ANY = st.recursive(
    st.none() | SIZES | st.binary(max_size=8) | TEXT | st.sampled_from(CID_OF_X),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["exec", "mtime", "wherry", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(["", ".", "..", "a", "b", "c", "a/b", "é", "\0"])


class Absent(Exception):
    """A block that a DAG links and the dict has not: the walk ends there, and it is nobody's fault."""


class Blocks(dict[CID, bytes]):
    def __missing__(self, cid: CID) -> bytes:
        raise Absent


@st.composite
def hostile_dags(draw):
    """A few nodes that are right in shape, with links to one another, and numbers that are mostly right."""
    make, true = Maker(), {CID.of(RAW, b""): (0, 1)}
    true[make.leaf(b"x")] = (1, 1)

    def linked(codecs) -> tuple[CID, object, object]:
        """A link, and the size and entries that it has, or others."""
        cid = draw(st.sampled_from([cid for cid in true if cid.codec in codecs] or CID_OF_X))
        size, entries = true.get(cid, (1, 1))
        if draw(st.integers(0, 9)) == 0:
            return draw(st.sampled_from(CID_OF_X)), draw(SIZES), draw(SIZES)
        return cid, size, entries

    def entry(name: str) -> object:
        kind = draw(st.sampled_from("ffddl?"))
        if kind == "f":
            return [name, "f", *linked({RAW, DAG_CBOR})[:2], *([{"exec": True}] if draw(st.booleans()) else [])]
        if kind == "d":
            return [name, "d", *linked({DAG_CBOR})]
        return [name, "l", draw(NAMES)] if kind == "l" or draw(st.integers(0, 3)) else draw(ANY)

    def names() -> list[str]:
        right = draw(st.integers(0, 4)) != 0
        return sorted(draw(st.sets(st.sampled_from("abcde"), max_size=4))) if right else draw(st.lists(NAMES, max_size=4))

    for _ in range(draw(st.integers(1, 7))):
        kind = draw(st.sampled_from(["file", "dir", "dir", "dir", "shards", "dataset", "any"]))
        size, entries = 0, 1
        if kind == "file":
            parts = [linked({draw(st.sampled_from([RAW, DAG_CBOR]))}) for _ in range(draw(st.integers(1, 3)))]
            numbers = [part[1] for part in parts]
            total = min(sum(number for number in numbers if isinstance(number, int)), 1 << 60)
            cid = make.file([part[0] for part in parts], numbers, total)
            size = total
        elif kind == "dir":
            items = [entry(name) for name in names()]
            cid = make.directory(*items)
            known = [
                true[item[2]]
                for item in items
                if isinstance(item, list) and len(item) > 2 and isinstance(item[2], CID) and item[2] in true
            ]
            size, entries = sum(part[0] for part in known), 1 + len(items) - len(known) + sum(part[1] for part in known)
        elif kind == "shards":
            pieces = [(name, linked({DAG_CBOR})) for name in names()]
            cid = make.shards(
                *([name, link, part, count - 1 if type(count) is int else count] for name, (link, part, count) in pieces)
            )
        elif kind == "dataset":
            cid = make.node(
                "dataset/1", root=entry(""), meta=draw(st.dictionaries(st.sampled_from("ab"), st.just("c") | ANY, max_size=2))
            )
        else:
            cid = make.block(DAG_CBOR, dagcbor.encode(draw(ANY)))
        true[cid] = (size, entries)
    return cid, Blocks(make.blocks)


def feed(data: bytes) -> None:
    """Gives one block to every decoder."""
    with suppress(DataError):
        assert dagcbor.encode(dagcbor.decode(data)) == data
    for codec in (DAG_CBOR, DAG_PB):
        with suppress(DataError):
            manifest.decode(Block(CID.of(codec, data), data))
    with suppress(DataError):
        CID(data)
    root = CID.of(DAG_CBOR, data)
    with suppress(DataError, Absent):
        for _ in islice(unfold(root, Blocks({root: data})), 100):
            pass


def test_the_corpus_is_there():
    assert {path.parent.name for path in CORPUS} == {"car", "dagcbor", "dagjson", "dagpb", "manifest", "sealing"}
    assert len(CORPUS) >= 20


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_corpus(path):
    feed(path.read_bytes())


@given(st.binary(max_size=200))
@example(b"\xd8\x2a\x58\x25\x00\x01")
def test_any_bytes(data):
    feed(data)


@given(st.sampled_from(CORPUS), st.data())
@settings(deadline=None)
def test_the_corpus_with_bytes_changed(path, data):
    feed(mutated(path.read_bytes(), data))


@pytest.mark.slow
@given(hostile_dags())
@settings(deadline=None, max_examples=300)
def test_dags_of_nodes_that_are_nearly_right(drawn):
    root, blocks = drawn
    with suppress(DataError, Absent):
        entry = root_of(Block(root, blocks[root])).entry
        given_entries = 0
        for step in islice(unfold(root, blocks), 2000):
            event(type(step).__name__)
            given_entries += type(step).__name__.startswith(("Enter", "Link"))
            assert given_entries <= entry.entries, "more entries than the root declares"
        for path in ("a", "b", "a/b", "c/a"):
            search = find(entry, path)
            with suppress(StopIteration, NotFound):
                need = next(search)
                while True:
                    need = search.send(Block(need.cid, blocks[need.cid]))


@given(st.text(st.characters(), max_size=300), st.text(st.characters(), max_size=300))
def test_any_text_as_name_target_and_path(one, two):
    for check in (check_name, check_target, check_path):
        with suppress(WherryError):
            check(one)
    with suppress(WherryError):
        check_portable(one, two)
    assert escapes(one, two) in {True, False}
    folded(one)
    collisions = Collisions(one)
    with suppress(WherryError):
        collisions.add(one)
        collisions.add(two)
        collisions.finish()


@pytest.mark.slow
@pytest.mark.parametrize(
    "data",
    [
        b"\x81" * NODE_BYTES_MAX,
        b"\x9a\x00\x0f\xff\xf0" + b"\xa0" * 0xFFFF0,
        b"\x99\xff\xff" + b"\xa0" * 65535,
        b"\x99\xff\xff" + b"\x61a" * 65535,
        b"\x99\xff\xff" + b"\xfb\x3f\xf0\0\0\0\0\0\1" * 65535,
        b"\x99\x61\xa8" + (b"\xd8\x2a\x58\x25\x00" + CID.of(RAW, b"x")) * 25_000,
        b"\x7a\x00\x0f\xff\xfb" + "\U0001f600".encode() + b"a" * (0xFFFFB - 4),
        b"\x84" + b"\x84" * 15 + b"\x80" * 16,
        b"\xb9\x7f\xff" + b"".join(b"\x63" + f"{number:03x}".encode() + b"\x80" for number in range(4096)),
    ],
    ids=["lists in lists", "maps", "65,535 maps", "65,535 texts", "floats", "links", "wide text", "small", "map"],
)
def test_memory_is_bounded_by_the_size_of_a_block(data):
    tracemalloc.start()
    try:
        feed(data)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "case", [case for case in hostile_manifests.cases() if case.met == "model"], ids=lambda case: case.name
)
def test_memory_of_a_hostile_walk_is_bounded(case):
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            for _ in unfold(case.root, case.blocks):
                pass
        assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX
    finally:
        tracemalloc.stop()


def test_a_root_of_a_directory_counts_itself():
    root = CID.of(DAG_CBOR, data := dagcbor.encode({"wherry": "dir/1", "entries": []}))
    assert (root_of(Block(root, data)).entry.kind, root_of(Block(root, data)).entry.entries) == (DIR, 1)
