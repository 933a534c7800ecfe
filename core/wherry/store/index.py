"""Where each leaf lies in the user's files (specs/0005 §5). May be thrown away: `wherry repair` makes it again.

A file is known by its path and signature (device, inode, size, mtime, ctime). Its number is never used again, so leaves
recorded for a file that has changed since point to nothing. A leaf that lies in several places has its first place in
``leaves`` and the others in ``more_leaves``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.cid import CID
from wherry.errors import HomeTooNew, StoreError
from wherry.store.database import Database

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_SCHEMA: Final = """
CREATE TABLE counter (next INTEGER NOT NULL);
INSERT INTO counter VALUES (1);
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, dev INTEGER, ino INTEGER, size INTEGER, mtime INTEGER, ctime INTEGER,
    cid BLOB, chunker TEXT NOT NULL
);
CREATE TABLE leaves (
    digest BLOB PRIMARY KEY, file INTEGER NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE more_leaves (
    digest BLOB NOT NULL, file INTEGER NOT NULL, offset INTEGER NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (digest, file)
) WITHOUT ROWID;
CREATE TABLE progress (
    file INTEGER NOT NULL, start INTEGER NOT NULL, digests BLOB NOT NULL, PRIMARY KEY (file, start)
) WITHOUT ROWID
"""
_AT_ONCE: Final = 256  # values in one query
_PLACES_MAX: Final = 8  # of a leaf besides the first: a tree may hold a million copies of one small file
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


class FileRow(NamedTuple):
    """A file that was read whole, or is being read (``cid`` is None)."""

    id: int
    path: str
    signature: Signature
    cid: CID | None
    chunker: str


class Place(NamedTuple):
    """Where a leaf lies."""

    path: str
    signature: Signature
    offset: int
    size: int


class FileRecord(NamedTuple):
    """A file read whole: its name, and its leaves as (digest, offset, size)."""

    path: str
    signature: Signature
    cid: CID | None  # None: to be read again by the next add
    chunker: str
    leaves: Sequence[tuple[bytes, int, int]]


class Index:
    """index.db. Safe for threads; commits are ordered but may be lost in a power cut, which `repair` mends."""

    def __init__(self, home: Path) -> None:
        self._db = Database(home / "index.db", _SCHEMA, 1, synchronous="NORMAL", what="index")

    # Writing

    def record(self, files: Sequence[FileRecord]) -> int:
        """Keeps whole files with their leaves. Gives how many leaves were not known before."""
        if not files:
            return 0
        with self._db.writing() as run:
            first = _reserve(run, len(files))
            rows = [(number, file.path, *file.signature, file.cid, file.chunker) for number, file in enumerate(files, first)]
            run.executemany("INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?,?,?)", rows)
            return _add_leaves(
                run, [(leaf[0], number, leaf[1], leaf[2]) for number, file in enumerate(files, first) for leaf in file.leaves]
            )

    def begin(self, path: str, signature: Signature, chunker: str) -> int:
        """Begins a file that is too long for one record; gives its number."""
        with self._db.writing() as run:
            number = _reserve(run, 1)
            run.execute("INSERT OR REPLACE INTO files VALUES (?,?,?,?,?,?,?,NULL,?)", (number, path, *signature, chunker))
        return number

    def add_leaves(self, file: int, leaves: Sequence[tuple[bytes, int, int]], *, progress: bool) -> int:
        """Adds leaves of a file that was begun; with ``progress`` (leaves in order) reading can go on behind them."""
        if not leaves:
            return 0
        with self._db.writing() as run:
            if progress:
                digests = b"".join([leaf[0] for leaf in leaves])
                run.execute("INSERT OR REPLACE INTO progress VALUES (?,?,?)", (file, leaves[0][1], digests))
            return _add_leaves(run, [(digest, file, offset, size) for digest, offset, size in leaves])

    def add_rows(self, rows: list[tuple[bytes, int, int, int]]) -> int:
        """Adds leaves (digest, file, offset, size) of files that were begun. Gives how many were not known before."""
        if not rows:
            return 0
        with self._db.writing() as run:
            return _add_leaves(run, rows)

    def finish(self, file: int, cid: CID | None, signature: Signature | None = None) -> None:
        """Says that a file that was begun is whole (``cid`` None: but must be read again by the next add).

        ``signature`` replaces the one it began with.
        """
        with self._db.writing() as run:
            run.execute("UPDATE files SET cid=? WHERE id=?", (cid, file))
            if signature is not None:
                run.execute("UPDATE files SET dev=?, ino=?, size=?, mtime=?, ctime=? WHERE id=?", (*signature, file))
            run.execute("DELETE FROM progress WHERE file=?", (file,))

    def clear(self) -> None:
        """Forgets all files and leaves."""
        with self._db.writing() as run:
            for table in ("files", "leaves", "more_leaves", "progress"):
                run.execute(f"DELETE FROM {table}")  # names of our own

    # Reading

    def files(self, paths: Sequence[str]) -> dict[str, FileRow]:
        """Looks files up by path."""
        found = {}
        with self._db.reading() as run:
            for start in range(0, len(paths), _AT_ONCE):
                some = paths[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                for row in run.execute(f"SELECT * FROM files WHERE path IN ({marks})", some):
                    found[row[1]] = FileRow(row[0], row[1], Signature(*row[2:7]), CID(row[7]) if row[7] else None, row[8])
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
            return run.execute("SELECT 1 FROM leaves LIMIT 1").fetchone() is not None

    def progress(self, file: int) -> Iterable[tuple[int, bytes]]:
        """Gives what was read so far of a file, in order: (offset, digests of the leaves from there)."""
        start = -1
        while True:
            with self._db.reading() as run:
                query = "SELECT start, digests FROM progress WHERE file=? AND start>? ORDER BY start LIMIT 1"
                row = run.execute(query, (file, start)).fetchone()
            if row is None:
                return
            start = row[0]
            yield start, row[1]

    def locate(self, digests: Sequence[bytes]) -> dict[bytes, list[Place]]:
        """Finds where leaves lie, by digest. Files may have changed since: compare the signature."""
        found: dict[bytes, list[Place]] = {}
        with self._db.reading() as run:
            for table in ("leaves", "more_leaves"):
                for start in range(0, len(digests), _AT_ONCE):
                    some = digests[start : start + _AT_ONCE]
                    marks = ",".join("?" * len(some))
                    query = f"""SELECT digest, path, dev, ino, files.size, mtime, ctime, offset, l.size
                                FROM {table} AS l JOIN files ON files.id = l.file WHERE digest IN ({marks})"""
                    for row in run.execute(query, some):
                        found.setdefault(row[0], []).append(Place(row[1], Signature(*row[2:7]), row[7], row[8]))
        return found

    def usage(self) -> tuple[int, int]:
        """Gives the number of files and of leaves."""
        with self._db.reading() as run:
            files = run.execute("SELECT count(*) FROM files").fetchone()[0]
            leaves = run.execute("SELECT count(*) FROM leaves").fetchone()[0]
        return files, leaves

    def check(self) -> None:
        """Looks at all of it; raises StoreError if it is damaged."""
        self._db.check()

    def close(self) -> None:
        """Closes the file."""
        self._db.close()


def discard_if_damaged(home: Path) -> bool:
    """Removes an index that is damaged, so that a new one is made; tells whether it did. Needs the home alone."""
    try:
        index = Index(home)
        try:
            index.check()
        finally:
            index.close()
    except HomeTooNew:
        raise
    except StoreError:
        for name in ("index.db", "index.db-journal"):
            (home / name).unlink(missing_ok=True)
        return True
    return False


def _reserve(run: sqlite3.Connection, count: int) -> int:
    first: int = run.execute("SELECT next FROM counter").fetchone()[0]
    run.execute("UPDATE counter SET next=?", (first + count,))
    return first


def _add_leaves(run: sqlite3.Connection, rows: list[tuple[bytes, int, int, int]]) -> int:
    rows.sort()  # neighbours in the tree are written together
    before = run.total_changes
    run.executemany("INSERT OR IGNORE INTO leaves VALUES (?,?,?,?)", rows)
    new = run.total_changes - before
    if new < len(rows):
        _add_further_places(run, rows)
    return new


def _add_further_places(run: sqlite3.Connection, rows: list[tuple[bytes, int, int, int]]) -> None:
    """Keeps the places of leaves that were known: instead of a place in a file that is gone, or beside the first."""
    for digest, file, offset, size in rows:
        row = run.execute(
            "SELECT file, files.id FROM leaves LEFT JOIN files ON files.id = leaves.file WHERE digest=?", (digest,)
        ).fetchone()
        if row[0] == file:
            continue
        if row[1] is None:
            run.execute("UPDATE leaves SET file=?, offset=?, size=? WHERE digest=?", (file, offset, size, digest))
        elif _has_room(run, digest):
            run.execute("INSERT OR REPLACE INTO more_leaves VALUES (?,?,?,?)", (digest, file, offset, size))


def _has_room(run: sqlite3.Connection, digest: bytes) -> bool:
    """Tells whether one more place of a leaf is kept; forgets those in files that are gone, if that makes room."""
    query = "SELECT count(*) FROM more_leaves WHERE digest=?"
    if run.execute(query, (digest,)).fetchone()[0] < _PLACES_MAX:
        return True
    run.execute("DELETE FROM more_leaves WHERE digest=? AND file NOT IN (SELECT id FROM files)", (digest,))
    left: int = run.execute(query, (digest,)).fetchone()[0]
    return left < _PLACES_MAX
