"""Hostile manifests: DAGs that lie, expand, nest without end or carry names that must not be written (specs/0003 §7).

For tests of whatever walks a manifest. `cases` gives one of every sort; each says who must refuse it, and with which error.
Every block is true to its CID: what lies is its content. `wherry.testing.trees.unfold` walks them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from wherry import dagcbor
from wherry.cid import CID, DAG_CBOR, DAG_PB, RAW
from wherry.errors import DataError, DecodeError, IntegrityError, LimitExceeded, UnsafeName

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Met: TypeAlias = Literal["model", "leaf", "write", "size"]

# What the hard rule refuses.
BAD_NAMES: Final = {
    "empty": "",
    "dot": ".",
    "dot dot": "..",
    "absolute": "/etc/passwd",
    "separator": "a/b",
    "climbing": "../../up",
    "NUL": "a\0b",
    "256 bytes": "n" * 256,
    "256 bytes of UTF-8": "é" * 128,
    "a megabyte": "n" * 1_000_000,
}

# What the portable rule refuses besides.
UNPORTABLE_NAMES: Final = {
    "backslash": "a\\b",
    "climbing by backslash": "..\\up",
    "drive": "C:x",
    "stream": "file:stream",
    "wildcard": "a*",
    "newline": "a\nb",
    "escape": "\x1b[2J",
    "trailing dot": "a.",
    "trailing space": "a ",
    "device": "NUL",
    "device with extension": "com1.txt",
    "device with superscript": "LPT²",
    "device, spaced": "aux .c",
}

COLLISIONS: Final = {
    "case": ("README", "readme"),
    "case beyond ASCII": ("Ä", "ä"),
    "full case folding": ("straße", "STRASSE"),
    "Unicode form": ("\u00e9", "e\u0301"),
    "compatible sign": ("\u212a", "k"),
    "ignorable character": ("a\u200d", "a"),
}

# Targets of a link named "link" at the top; "here" is a link to ".".
ESCAPES: Final = {
    "absolute": "/etc/passwd",
    "up": "..",
    "up and down": "../x",
    "through itself": "a/../../x",
    "through another link": "here/here/../../x",
    "drive": "C:\\Windows",
    "drive, relative": "C:x",
    "share": "\\\\server\\share",
    "up by backslash": "..\\x",
    "mixed": "a\\../..\\x",
}


class Case(NamedTuple):
    """One hostile DAG. ``met`` says who must refuse it.

    ``model``: `manifest.decode` or `dag.walk`. ``leaf``: whoever fetches the leaf, which has another length than listed.
    ``write``: whoever would write it, by the rules of names and links. ``size``: whoever bounds what is fetched, from the
    root's size and entries, which are true here.
    """

    name: str
    root: CID
    blocks: dict[CID, bytes]
    error: type[DataError]
    met: Met = "model"


class Maker:
    """Collects blocks; takes any values, however wrong."""

    def __init__(self) -> None:
        self.blocks: dict[CID, bytes] = {}

    def block(self, codec: int, data: bytes) -> CID:
        """Keeps a block; gives its CID."""
        cid = CID.of(codec, data)
        self.blocks[cid] = data
        return cid

    def leaf(self, data: bytes) -> CID:
        """Keeps a leaf."""
        return self.block(RAW, data)

    def node(self, kind: str, **fields: object) -> CID:
        """Keeps a node of ``kind`` with ``fields``, as they are."""
        return self.block(DAG_CBOR, dagcbor.encode({"wherry": kind, **fields}))

    def file(self, links: Sequence[object], sizes: Sequence[object], size: object = None) -> CID:
        """Keeps a file node."""
        total = sum(part for part in sizes if isinstance(part, int)) if size is None else size
        return self.node("file/1", size=total, links=links, sizes=sizes)

    def directory(self, *entries: object) -> CID:
        """Keeps a directory node."""
        return self.node("dir/1", entries=entries)

    def shards(self, *shards: object) -> CID:
        """Keeps an index of pieces."""
        return self.node("shards/1", shards=shards)

    def case(self, name: str, root: CID, error: type[DataError], met: Met = "model") -> Case:
        """Gives what was collected as one case."""
        return Case(name, root, self.blocks, error, met)


def cases() -> Iterator[Case]:
    """Gives one case of every sort."""
    yield from lies()
    yield from nestings()
    yield from expansions()
    yield from disorders()
    yield from misfits()
    yield from encodings()
    for about, name in BAD_NAMES.items():
        yield named(f"bad name: {about}", name, UnsafeName, "model")
    for about, name in UNPORTABLE_NAMES.items():
        yield named(f"unportable name: {about}", name, UnsafeName, "write")
    for about, pair in COLLISIONS.items():
        yield colliding(f"collision: {about}", *pair)
    for about, target in ESCAPES.items():
        yield linked(f"escape: {about}", target)
    for about, target in (("empty", ""), ("NUL", "a\0b"), ("4,097 bytes", "t" * 4097)):
        yield linked(f"bad target: {about}", target, "model")


# Names


def named(about: str, name: str, error: type[DataError], met: Met) -> Case:
    """Gives a directory with one file of that name."""
    make = Maker()
    return make.case(about, make.directory([name, "f", make.leaf(b"x"), 1]), error, met)


def colliding(about: str, one: str, two: str) -> Case:
    """Gives a directory with two files whose names are one on many file systems."""
    make = Maker()
    leaf = make.leaf(b"x")
    return make.case(about, make.directory(*([name, "f", leaf, 1] for name in sorted((one, two)))), UnsafeName, "write")


def linked(about: str, target: str, met: Met = "write") -> Case:
    """Gives a directory with a link "link" to ``target``, beside a link "here" to "."."""
    make = Maker()
    return make.case(about, make.directory(["here", "l", "."], ["link", "l", target]), UnsafeName, met)


# Numbers


def lies() -> Iterator[Case]:
    """Gives sizes and counts that are not so."""
    for about, listed in (("more", 11), ("less", 9)):
        make = Maker()
        leaf = make.leaf(b"12345")
        inner = make.file([leaf, leaf], [5, 5])
        yield make.case(f"file says {about} bytes", make.directory(["a", "f", inner, listed]), IntegrityError)
        make = Maker()
        leaf = make.leaf(b"12345")
        inner = make.file([leaf, leaf], [5, 5])
        yield make.case(f"part of a file says {about} bytes", make.file([inner, inner], [10, listed]), IntegrityError)
        make = Maker()
        yield make.case(f"leaf says {about} bytes", make.file([make.leaf(b"1234567890")], [listed]), IntegrityError, "leaf")
        make = Maker()
        root = make.directory(["a", "f", make.leaf(b"1234567890"), listed])
        yield make.case(f"lone leaf says {about} bytes", root, IntegrityError, "leaf")
        make = Maker()
        inner = make.directory(["a", "f", make.leaf(b"1234567890"), 10])
        yield make.case(f"directory says {about} bytes", make.directory(["d", "d", inner, listed, 2]), IntegrityError)
    for about, listed in (("more", 3), ("fewer", 1)):
        make = Maker()
        inner = make.directory(["a", "f", make.leaf(b"x"), 1])
        yield make.case(f"directory says {about} entries", make.directory(["d", "d", inner, 1, listed]), IntegrityError)
        make = Maker()
        one, two = (make.directory([name, "f", make.leaf(b"x"), 1]) for name in ("a", "b"))
        yield make.case(
            f"piece says {about} entries", make.shards(["a", one, 1, 1], ["b", two, 1, listed - 1 or 9]), IntegrityError
        )
    make = Maker()
    one, two = (make.directory([name, "f", make.leaf(b"x"), 1]) for name in ("a", "b"))
    yield make.case("piece says more bytes", make.shards(["a", one, 1, 1], ["b", two, 2, 1]), IntegrityError)
    make = Maker()
    yield make.case("file is not the sum of its parts", make.file([make.leaf(b"x")], [1], 2), IntegrityError)
    make = Maker()
    yield make.case("empty file with content", make.directory(["a", "f", make.file([make.leaf(b"x")], [1]), 0]), IntegrityError)
    make = Maker()
    yield make.case("empty file with a leaf", make.directory(["a", "f", make.leaf(b"x"), 0]), IntegrityError)
    make = Maker()
    yield make.case("empty leaf with bytes", make.directory(["a", "f", make.leaf(b""), 1]), IntegrityError)
    make = Maker()
    yield make.case("empty leaf as a part", make.file([make.leaf(b""), make.leaf(b"x")], [1, 1]), IntegrityError)
    make = Maker()
    inner = make.directory(["a", "f", make.leaf(b"x"), 1])
    yield make.case("dataset says more bytes", make.node("dataset/1", root=["", "d", inner, 2, 2], meta={}), IntegrityError)


# Depth and breadth


def nestings() -> Iterator[Case]:
    """Gives what nests without end."""
    yield nested_directories()
    yield nested_files()
    yield nested_shards()


def nested_directories(depth: int = 200) -> Case:
    """Gives directories with nothing but one directory in each."""
    make = Maker()
    inner = make.directory()
    for level in range(1, depth):
        inner = make.directory(["d", "d", inner, 0, level])
    return make.case("directories without end", inner, LimitExceeded)


def nested_files(depth: int = 50) -> Case:
    """Gives file nodes with nothing but one file node in each."""
    make = Maker()
    inner = make.file([make.leaf(b"x")], [1])
    for _ in range(depth):
        inner = make.file([inner], [1])
    return make.case("file nodes without end", make.directory(["a", "f", inner, 1]), LimitExceeded)


def nested_shards(depth: int = 50) -> Case:
    """Gives an index of pieces whose second piece is always another index."""
    make = Maker()
    names = [f"n{number:04}" for number in range(depth + 1)]
    pieces = [make.directory([name, "f", make.leaf(b"x"), 1]) for name in names]
    inner = pieces[-1]
    for number in range(depth - 1, -1, -1):
        inner = make.shards([names[number], pieces[number], 1, 1], [names[-1], inner, depth - number, depth - number])
    return make.case("pieces without end", inner, LimitExceeded)


def expansions() -> Iterator[Case]:
    """Gives few blocks that stand for very many."""
    yield expanding_directories(1000, 10, lie=True)
    yield expanding_directories(1000, 10)
    yield expanding_directories(1000, 6)
    yield expanding_file(6)
    yield expanding_file(7)


def expanding_directories(width: int, depth: int, *, lie: bool = False) -> Case:
    """Gives a directory that lists the same directory ``width`` times, ``depth`` levels deep; with ``lie``, as if once."""
    make = Maker()
    inner, count = make.directory(), 1
    for _ in range(depth):
        listed = 1 if lie else min(count, 1 << 60)
        inner = make.directory(*([f"d{number:04}", "d", inner, 0, listed] for number in range(width)))
        count = 1 + width * count
    about = f"{width} directories each, {depth} deep{', counted as one' if lie else ''}"
    if lie:
        return make.case(about, inner, IntegrityError)
    return make.case(about, inner, LimitExceeded, "size" if count <= 1 << 60 else "model")


def expanding_file(depth: int) -> Case:
    """Gives a file of 1,024 times the same part, ``depth`` levels deep, down to one leaf of one byte."""
    make = Maker()
    inner, size = make.leaf(b"x"), 1
    for _ in range(depth):
        inner, size = make.file([inner] * 1024, [size] * 1024, min(size * 1024, 1 << 60)), size * 1024
    return make.case(
        f"1,024 times the same, {depth} deep",
        inner,
        *((LimitExceeded, "size") if size <= 1 << 60 else (IntegrityError, "model")),
    )


def disorders() -> Iterator[Case]:
    """Gives names that are doubled, out of order, or not where an index says."""
    for about, names in (("unordered names", "ba"), ("doubled names", "aa")):
        make = Maker()
        leaf = make.leaf(b"x")
        yield make.case(about, make.directory(*([name, "f", leaf, 1] for name in names)), DecodeError)
    make = Maker()
    inner = make.directory(["passwd", "f", make.leaf(b"x"), 1])
    yield make.case(
        "a link and a directory of one name", make.directory(["d", "l", "/etc"], ["d", "d", inner, 1, 2]), DecodeError
    )
    for about, pieces, lasts, error in (
        ("unordered pieces", ("b", "a"), "ba", DecodeError),
        ("doubled pieces", ("a", "a"), "aa", DecodeError),
        ("overlapping pieces", ("bd", "ce"), "de", IntegrityError),
        ("pieces with one name in both", ("ab", "bc"), "bc", IntegrityError),
        ("a piece that ends early", ("a", "b"), "ac", IntegrityError),
        ("a piece that ends late", ("a", "bd"), "ac", IntegrityError),
    ):
        make = Maker()
        leaf = make.leaf(b"x")
        listed = [
            [last, make.directory(*([name, "f", leaf, 1] for name in names)), len(names), len(names)]
            for names, last in zip(pieces, lasts, strict=True)
        ]
        yield make.case(about, make.shards(*listed), error)
    make = Maker()
    piece = make.directory(["a", "f", make.leaf(b"x"), 1])
    yield make.case("one piece", make.shards(["a", piece, 1, 1]), DecodeError)
    make = Maker()
    piece = make.directory(["a", "f", make.leaf(b"x"), 1])
    yield make.case("an empty piece", make.shards(["a", piece, 1, 1], ["b", make.directory(), 0, 1]), IntegrityError)


def misfits() -> Iterator[Case]:
    """Gives nodes in the wrong place, of unknown kinds, and with fields of wrong types."""
    make = Maker()
    yield make.case(
        "a file where a directory should be", make.directory(["a", "d", make.file([make.leaf(b"x")], [1]), 1, 2]), DecodeError
    )
    make = Maker()
    yield make.case("a directory where a file should be", make.directory(["a", "f", make.directory(), 1]), DecodeError)
    make = Maker()
    inner = make.node("dataset/1", root=["", "d", make.directory(), 0, 1], meta={})
    yield make.case("a dataset in a dataset", make.node("dataset/1", root=["", "d", inner, 0, 1], meta={}), DecodeError)
    make = Maker()
    yield make.case(
        "leaves and nodes in one file", make.file([make.leaf(b"x"), make.file([make.leaf(b"x")], [1])], [1, 1]), DecodeError
    )
    make = Maker()
    yield make.case("too many entries", make.directory(*([f"{n:04}", "l", "x"] for n in range(1025))), LimitExceeded)
    make = Maker()
    yield make.case("too many leaves", make.file([make.leaf(b"x")] * 1025, [1] * 1025), LimitExceeded)
    make = Maker()
    yield make.case("a leaf of 5 MiB", make.directory(["a", "f", make.leaf(b"x"), 5 << 20]), IntegrityError)
    for about, entry in (
        ("negative size", ["a", "f", CID.of(RAW, b"x"), -1]),
        ("size that is true", ["a", "f", CID.of(RAW, b"x"), True]),
        ("size that is a float", ["a", "f", CID.of(RAW, b"x"), 1.0]),
        ("size beyond 2**60", ["a", "d", CID.of(DAG_CBOR, b""), (1 << 60) + 1, 1]),
        ("no entries", ["a", "d", CID.of(DAG_CBOR, b""), 0, 0]),
        ("unknown kind of entry", ["a", "x", CID.of(RAW, b"x"), 1]),
        ("file as dag-pb", ["a", "f", CID.of(DAG_PB, b"x"), 1]),
        ("directory as raw", ["a", "d", CID.of(RAW, b"x"), 1, 1]),
        ("unknown attribute", ["a", "f", CID.of(RAW, b"x"), 1, {"setuid": True}]),
        ("empty attributes", ["a", "f", CID.of(RAW, b"x"), 1, {}]),
        ("executable directory", ["a", "d", CID.of(DAG_CBOR, b""), 0, 1, {"exec": True}]),
        ("a time beyond the calendar", ["a", "f", CID.of(RAW, b"x"), 1, {"mtime": [1 << 62, 0]}]),
        ("a billion nanoseconds", ["a", "f", CID.of(RAW, b"x"), 1, {"mtime": [0, 10**9]}]),
        ("text for a name's bytes", [b"a", "f", CID.of(RAW, b"x"), 1]),
        ("no list", "a"),
    ):
        make = Maker()
        yield make.case(about, make.directory(entry), DecodeError)
    make = Maker()
    yield make.case("unknown kind of node", make.node("dir/2", entries=[]), DecodeError)
    make = Maker()
    yield make.case("unknown field", make.node("dir/1", entries=[], more=1), DecodeError)
    make = Maker()
    data = dagcbor.encode({"wherry": "dir/1", "entries": []})  # a manifest; what is UnixFS would be read as such
    yield make.case("codec dag-pb", make.block(DAG_PB, data), DecodeError)


def encodings() -> Iterator[Case]:
    """Gives directory nodes that are not in the one canonical form, or are made to exhaust their decoder."""
    kind, entries = b"\x66wherry\x65dir/1", b"\x67entries"
    for about, data, error in (
        ("keys out of order", b"\xa2" + entries + b"\x80" + kind, DecodeError),
        ("doubled key", b"\xa3" + kind + kind + entries + b"\x80", DecodeError),
        ("long length", b"\xa2" + kind + entries + b"\x98\x00", DecodeError),
        ("indefinite length", b"\xa2" + kind + entries + b"\x9f\xff", DecodeError),
        ("indefinite map", b"\xbf" + kind + entries + b"\x80\xff", DecodeError),
        ("bytes left over", b"\xa2" + kind + entries + b"\x80\x00", DecodeError),
        ("cut off", b"\xa2" + kind + entries, DecodeError),
        ("empty block", b"", DecodeError),
        ("a tag", b"\xa2" + kind + entries + b"\xc1\x80", DecodeError),
        ("undefined", b"\xa2" + kind + entries + b"\xf7", DecodeError),
        ("a name that is not UTF-8", b"\xa2" + kind + entries + b"\x81\x83\x62\xc3\x28\x61l\x61x", DecodeError),
        ("a name with a surrogate", b"\xa2" + kind + entries + b"\x81\x83\x63\xed\xa0\x80\x61l\x61x", DecodeError),
        ("four billion entries", b"\xa2" + kind + entries + b"\x9a\xff\xff\xff\xff", DecodeError),
        ("a string of 2**64-1 bytes", b"\xa2" + kind + entries + b"\x7b" + b"\xff" * 8, DecodeError),
        ("a million lists in lists", b"\x81" * 1_000_000, LimitExceeded),
        ("a million empty maps", b"\x9a\x00\x0f\x00\x00" + b"\xa0" * 0xF0000, LimitExceeded),
        ("more than a mebibyte", b"\x5a\x00\x10\x00\x00" + bytes(1 << 20), LimitExceeded),
    ):
        make = Maker()
        yield make.case(about, make.block(DAG_CBOR, data), error)
