"""Where each leaf lies in the user's files (specs/0005 §5). May be thrown away: `wherry repair` makes it again.

A file is known by its path and signature (device, inode, size, mtime, ctime). Its number is never used again, so leaves
recorded for a file that has changed since point to nothing. A leaf that lies in several places has its first place in
``leaves`` and the others in ``more_leaves``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wherry.cid import CID
from wherry.errors import CIDError
from wherry.limits import LEAF_BYTES_MAX
from wherry.store.database import AT_ONCE, Database, insert
from wherry.store.places import Fresh, add_leaves

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Iterable, Sequence
    from pathlib import Path

NAME: Final = "index.db"
_FILES: Final = """
CREATE TABLE {name} (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL, cut TEXT NOT NULL, dev INTEGER, ino INTEGER, size INTEGER, mtime INTEGER,
    ctime INTEGER, cid BLOB, key BLOB NOT NULL, leaves INTEGER NOT NULL, UNIQUE (path, cut)
)"""
_SEALED: Final = """
CREATE TABLE sealed (
    digest BLOB PRIMARY KEY, file INTEGER NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL, key BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE progress (
    file INTEGER NOT NULL, start INTEGER NOT NULL, leaves BLOB NOT NULL, PRIMARY KEY (file, start)
) WITHOUT ROWID
"""
_SCHEMA: Final = f"""
CREATE TABLE counter (next INTEGER NOT NULL);
INSERT INTO counter VALUES (1);
{_FILES.format(name="files")};
CREATE TABLE leaves (
    digest BLOB PRIMARY KEY, file INTEGER NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE more_leaves (
    digest BLOB NOT NULL, file INTEGER NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (digest, file)
) WITHOUT ROWID;
{_SEALED}
"""
# Version 2 came with chunkers other than fixed and with encryption: a file may be cut in several ways side by side.
_FROM_1: Final = f"""
{_FILES.format(name="files_2")};
INSERT INTO files_2 SELECT id, path, chunker, dev, ino, size, mtime, ctime, cid, x'', 0 FROM files;
DROP TABLE files;
ALTER TABLE files_2 RENAME TO files;
DROP TABLE progress;
{_SEALED}
"""

DIGEST_BYTES: Final = 32


class Signature(NamedTuple):
    """What tells that a file is still the one that was read."""

    dev: int
    ino: int
    size: int
    mtime: int  # nanoseconds
    ctime: int  # nanoseconds

    @classmethod
    def of(cls, stat: os.stat_result) -> Signature:
        """Takes it from ``stat`` or ``fstat``."""
        return cls(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


class LeafRow(NamedTuple):
    """One leaf of a file: the digest of its block, and where its plain bytes lie."""

    digest: bytes
    offset: int
    size: int  # plain bytes
    key: bytes = b""  # of a sealed leaf: what its parent lists (specs/0016 §4)


class FileRow(NamedTuple):
    """A file that was read whole, or is being read (``cid`` is None)."""

    id: int
    path: str
    cut: str  # see `FileRecord`
    signature: Signature
    cid: CID | None
    key: bytes
    leaves: int


class Place(NamedTuple):
    """Where a leaf lies."""

    path: str
    signature: Signature
    offset: int
    size: int  # plain bytes


class SealedPlace(NamedTuple):
    """Where the plain bytes of a sealed leaf lie, and what makes the block of them."""

    place: Place
    cut: str
    key: bytes


class FileRecord(NamedTuple):
    """A file read whole.

    ``cut`` tells how its leaves were made: the chunker's name, and for sealed ones behind a space what they were sealed
    with (specs/0016 §7); "" for what `get` wrote. One file may be recorded once for each.
    """

    path: str
    signature: Signature
    cid: CID | None  # None: to be read again by the next add
    cut: str
    leaves: Sequence[LeafRow]
    key: bytes = b""  # of the sealed file, as its directory lists it


class Index:
    """index.db. Safe for threads; commits are ordered but may be lost in a power cut, which `repair` mends."""

    def __init__(self, home: Path, name: str = NAME) -> None:
        self._db = Database(home / name, _SCHEMA, 2, synchronous="NORMAL", what="index", steps={1: _FROM_1})

    # Writing

    def record(self, files: Sequence[FileRecord]) -> Fresh:
        """Keeps whole files with their leaves. Gives what was not known before."""
        if not files:
            return Fresh()
        with self._db.writing() as run:
            first = _reserve(run, len(files))
            rows = (
                (number, path, cut, *signature, cid and bytearray(cid), bytearray(key), len(leaves))
                for number, (path, signature, cid, cut, leaves, key) in enumerate(files, first)
            )
            insert(run, "INSERT OR REPLACE INTO files", rows)
            return add_leaves(run, [(number, leaf) for number, file in enumerate(files, first) for leaf in file.leaves])

    def begin(self, path: str, signature: Signature, cut: str) -> int:
        """Begins a file that is too long for one record; gives its number."""
        with self._db.writing() as run:
            number = _reserve(run, 1)
            run.execute("INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?,?,NULL,x'',0)", (number, path, cut, *signature))
        return number

    def add_leaves(self, file: int, leaves: Sequence[LeafRow], *, progress: bool) -> Fresh:
        """Adds leaves of a file that was begun; with ``progress`` (leaves in order) reading can go on behind them."""
        if not leaves:
            return Fresh()
        with self._db.writing() as run:
            if progress:
                run.execute("INSERT OR REPLACE INTO progress VALUES (?,?,?)", (file, leaves[0][1], _packed(leaves)))
            return add_leaves(run, [(file, leaf) for leaf in leaves])

    def add_rows(self, rows: list[tuple[int, LeafRow]]) -> Fresh:
        """Adds leaves of files that were begun, each with its file's number. Gives what was not known before."""
        if not rows:
            return Fresh()
        with self._db.writing() as run:
            return add_leaves(run, rows)

    def finish(
        self, file: int, cid: CID | None, signature: Signature | None = None, *, key: bytes = b"", leaves: int = 0
    ) -> None:
        """Says that a file that was begun is whole (``cid`` None: but must be read again by the next add).

        ``signature`` replaces the one it began with.
        """
        with self._db.writing() as run:
            run.execute("UPDATE files SET cid=?, key=?, leaves=? WHERE id=?", (cid, key, leaves, file))
            if signature is not None:
                run.execute("UPDATE files SET dev=?, ino=?, size=?, mtime=?, ctime=? WHERE id=?", (*signature, file))
            run.execute("DELETE FROM progress WHERE file=?", (file,))

    def moved(self, file: int, signature: Signature) -> None:
        """Takes the signature that a whole file has since it was renamed."""
        with self._db.writing() as run:
            run.execute("UPDATE files SET dev=?, ino=?, size=?, mtime=?, ctime=? WHERE id=?", (*signature, file))

    # Reading

    def files(self, paths: Sequence[str], cut: str | None = None) -> dict[str, FileRow]:
        """Looks files up by path, as cut in one way; None: in whatever way, the one recorded last."""
        found = {}
        how, values = ("", []) if cut is None else (" AND cut=?", [cut])
        with self._db.reading() as run:
            for start in range(0, len(paths), AT_ONCE):
                some = paths[start : start + AT_ONCE]
                marks = ",".join("?" * len(some))
                for row in run.execute(f"SELECT * FROM files WHERE path IN ({marks}){how} ORDER BY id", [*some, *values]):
                    known = _file(row)
                    if known is not None:
                        found[known.path] = known
        return found

    def knows_below(self, path: str) -> bool:
        """Tells whether any file at or below ``path`` is known: if not, looking each up is in vain."""
        path = path.rstrip("/")
        with self._db.reading() as run:
            query = "SELECT 1 FROM files WHERE path=? OR (path>? AND path<?) LIMIT 1"
            below = path.rstrip("/")
            return run.execute(query, (path, below + "/", below + "0")).fetchone() is not None

    def holds_any(self) -> bool:
        """Tells whether any leaf is known."""
        with self._db.reading() as run:
            query = "SELECT 1 WHERE EXISTS (SELECT 1 FROM leaves) OR EXISTS (SELECT 1 FROM sealed)"
            return run.execute(query).fetchone() is not None

    def progress(self, file: int) -> Iterable[list[LeafRow]]:
        """Gives the leaves that were read so far of a file, in order."""
        start = -1
        while True:
            with self._db.reading() as run:
                query = "SELECT start, leaves FROM progress WHERE file=? AND start>? ORDER BY start LIMIT 1"
                row = run.execute(query, (file, start)).fetchone()
            if row is None or type(row[0]) is not int or type(row[1]) is not bytes or not row[1]:
                return
            start = row[0]
            yield _unpacked(start, row[1])

    def leaves(self, digests: Sequence[bytes], *, sealed: bool) -> dict[bytes, tuple[int, bytes]]:
        """Gives the size and the key of those leaves that are recorded, by digest; ``sealed`` says of which kind.

        A digest that a file's record, or its progress, names and that is not here is none that was recorded: a bit flipped.
        """
        found: dict[bytes, tuple[int, bytes]] = {}
        what = "digest, size, key FROM sealed" if sealed else "digest, size, x'' FROM leaves"
        with self._db.reading() as run:
            for start in range(0, len(digests), AT_ONCE):
                some = digests[start : start + AT_ONCE]
                for digest, size, key in run.execute(f"SELECT {what} WHERE digest IN ({','.join('?' * len(some))})", some):
                    found[digest] = size, key
        return found

    def locate(self, digests: Sequence[bytes]) -> dict[bytes, list[Place]]:
        """Finds where leaves lie, by digest. Files may have changed since: compare the signature."""
        found: dict[bytes, list[Place]] = {}
        with self._db.reading() as run:
            for table in ("leaves", "more_leaves"):
                for start in range(0, len(digests), AT_ONCE):
                    some = digests[start : start + AT_ONCE]
                    marks = ",".join("?" * len(some))
                    query = f"""SELECT digest, path, dev, ino, files.size, mtime, ctime, offset, l.size
                                FROM {table} AS l JOIN files ON files.id = l.file WHERE digest IN ({marks})"""
                    for row in run.execute(query, some):
                        if _sound(row):
                            found.setdefault(row[0], []).append(Place(row[1], Signature(*row[2:7]), row[7], row[8]))
        return found

    def locate_sealed(self, digests: Sequence[bytes]) -> dict[bytes, SealedPlace]:
        """Finds the plain bytes that sealed leaves can be made of again, by the digest of the sealed block."""
        found: dict[bytes, SealedPlace] = {}
        with self._db.reading() as run:
            for start in range(0, len(digests), AT_ONCE):
                some = digests[start : start + AT_ONCE]
                marks = ",".join("?" * len(some))
                query = f"""SELECT digest, path, dev, ino, files.size, mtime, ctime, offset, s.size, cut, s.key
                            FROM sealed AS s JOIN files ON files.id = s.file WHERE digest IN ({marks})"""
                for row in run.execute(query, some):
                    if _sound(row) and type(row[9]) is str and type(row[10]) is bytes:
                        found[row[0]] = SealedPlace(Place(row[1], Signature(*row[2:7]), row[7], row[8]), row[9], row[10])
        return found

    def usage(self) -> tuple[int, int]:
        """Gives the number of files and of leaves."""
        with self._db.reading() as run:
            files = run.execute("SELECT count(*) FROM files").fetchone()[0]
            open_leaves = run.execute("SELECT count(*) FROM leaves").fetchone()[0]
            sealed = run.execute("SELECT count(*) FROM sealed").fetchone()[0]
        return files, open_leaves + sealed

    def check(self) -> None:
        """Looks at all of it; raises StoreError if it is damaged."""
        self._db.check()

    def close(self) -> None:
        """Closes the file."""
        self._db.close()


def _sound(row: tuple[Any, ...]) -> bool:
    """Tells whether a leaf's place has types and a size that are written: a flipped bit makes bytes of a text.

    What has not is passed over, as what is not known: `add` and `repair` read the file again.
    """
    return type(row[1]) is str and type(row[7]) is int and type(row[8]) is int and 0 <= row[8] <= LEAF_BYTES_MAX


def _file(row: tuple[Any, ...]) -> FileRow | None:
    number, path, cut, *signature, cid, key, leaves = row
    try:
        named = CID(cid) if cid else None
    except (CIDError, TypeError):
        return None
    if type(path) is not str or type(cut) is not str or type(leaves) is not int:
        return None
    return FileRow(number, path, cut, Signature(*signature), named, key, leaves)


def _reserve(run: sqlite3.Connection, count: int) -> int:
    first: int = run.execute("SELECT next FROM counter").fetchone()[0]
    run.execute("UPDATE counter SET next=?", (first + count,))
    return first


def _packed(leaves: Sequence[LeafRow]) -> bytes:
    """Writes consecutive leaves: how long their keys are, then of each its digest, size and key."""
    records = [leaf[0] + leaf[2].to_bytes(4, "big") + leaf[3] for leaf in leaves]
    return b"".join([bytes([len(leaves[0][3])]), *records])


def _unpacked(start: int, data: bytes) -> list[LeafRow]:
    behind = DIGEST_BYTES + 4
    rows = []
    for at in range(1, len(data), behind + data[0]):
        size = int.from_bytes(data[at + DIGEST_BYTES : at + behind], "big")
        rows.append(LeafRow(data[at : at + DIGEST_BYTES], start, size, data[at + behind : at + behind + data[0]]))
        start += size
    return rows
