"""What this home knows in more than one place: files that are equal, and files that share leaves (specs/0005 §8).

The index may have ten million leaves, and other processes write to it meanwhile. So it is read a page at a time, without a
lock between two pages, into a database of SQLite's own that has no name, is on the disk when it grows, and is gone when it
is closed: memory stays the same however much there is. What changes meanwhile may be seen or not.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.cid import CID
from wherry.errors import StoreError
from wherry.results import EqualFiles, SharedBytes
from wherry.store.index import Signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wherry.store.index import Index

PATHS_MAX: Final = 20  # of equal files that are named; the others are counted
_PAGE: Final = 5000  # rows read under one lock: some milliseconds
_SCRATCH: Final = """
CREATE TABLE named (cid BLOB NOT NULL, who INTEGER NOT NULL, id INTEGER NOT NULL, size INTEGER NOT NULL);
CREATE TABLE groups (id INTEGER PRIMARY KEY, cid BLOB NOT NULL, size INTEGER NOT NULL, copies INTEGER NOT NULL);
CREATE TABLE members (of INTEGER NOT NULL, id INTEGER NOT NULL, PRIMARY KEY (of, id)) WITHOUT ROWID;
CREATE TABLE pairs (
    a INTEGER NOT NULL, b INTEGER NOT NULL, bytes INTEGER NOT NULL, leaves INTEGER NOT NULL, PRIMARY KEY (a, b)
) WITHOUT ROWID
"""


class _File(NamedTuple):
    path: str
    cut: str
    signature: Signature

    def is_unchanged(self) -> bool:
        try:
            return Signature.of(os.stat(self.path, follow_symlinks=False)) == self.signature
        except (OSError, ValueError):  # it is gone, or was never a file: what is generated lies nowhere twice
            return False


class Duplicates:
    """One look at an index. For one thread at a time; close it."""

    def __init__(self, index: Index, *, min_bytes: int = 1, stopped: Callable[[], bool] = lambda: False) -> None:
        """``min_bytes``: files and sums below it are of no interest. ``stopped`` is asked between pages, to give up."""
        self._index = index
        self._min = max(1, min_bytes)
        self._stopped = stopped
        self._scratch = sqlite3.connect("", isolation_level=None, check_same_thread=False)

    def close(self) -> None:
        """Removes what was gathered."""
        self._scratch.close()

    def equal(self) -> Iterator[EqualFiles]:
        """Gives groups of equal files, those first that would save most. Raises StoreError."""
        with _typed():
            self._fresh()
            self._gather_names()
            self._group()
            query = "SELECT id, cid, size FROM groups ORDER BY size * (copies - 1) DESC, cid"
            for group, cid, size in self._scratch.execute(query):
                count, some = self._living(group)
                if count > 1:
                    paths = [file.path for file in some]
                    yield EqualFiles(cid=str(CID(cid)), cut=some[0].cut, bytes=size, copies=count, paths=paths)

    def shared(self) -> Iterator[SharedBytes]:
        """Gives pairs of files that share leaves and are not equal, those first that share most. Raises StoreError."""
        with _typed():
            self._fresh()
            self._gather_pairs()
            query = "SELECT a, b, bytes, leaves FROM pairs WHERE bytes >= ? ORDER BY bytes DESC, a, b"
            rows = self._scratch.execute(query, (self._min,))
            while some := rows.fetchmany(_PAGE // 2):
                places = self._places({number for row in some for number in row[:2]})
                for a, b, size, leaves in some:
                    first, second = places.get(a), places.get(b)
                    if first and second and first.is_unchanged() and second.is_unchanged():
                        yield SharedBytes(path=first.path, other=second.path, cut=second.cut, bytes=size, leaves=leaves)

    # Gathering

    def _fresh(self) -> None:
        """Empties the scratch: each question gathers for itself, of the index as it is then."""
        self._scratch.close()
        self._scratch = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._scratch.execute("PRAGMA cache_size=-4096")
        self._scratch.execute("PRAGMA journal_mode=OFF")  # nothing here outlives a fault
        self._scratch.executescript(_SCRATCH)

    def _gather_names(self) -> None:
        """Takes each whole file's CID and identity. Hard links are one file, and so is one that was cut in two ways."""
        last = -1
        query = "SELECT id, cid, dev, ino, size FROM files WHERE id > ? AND cid IS NOT NULL AND size >= ? ORDER BY id LIMIT ?"
        while not self._stopped():
            with self._index._db.reading() as run:
                rows = run.execute(query, (last, self._min, _PAGE)).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            named = [(cid, hash((dev, ino)), number, size) for number, cid, dev, ino, size in rows]
            self._write("INSERT INTO named VALUES (?,?,?,?)", named)

    def _group(self) -> None:
        """Finds what has a CID in common, in the order of CIDs: SQLite sorts on the disk."""
        self._scratch.execute("BEGIN")
        rows = self._scratch.execute("SELECT cid, who, id, size FROM named ORDER BY cid, who, id")
        for number, (cid, equal) in enumerate(groupby(rows, itemgetter(0)), 1):
            first, size, copies = -1, 0, 0
            for _, same in groupby(equal, itemgetter(1)):
                file, size = next(same)[2:]  # one path stands for all of the same file
                copies += 1
                if copies == 1:
                    first = file
                elif copies == 2:
                    self._scratch.execute("INSERT INTO members VALUES (?,?)", (number, first))
                if copies > 1:
                    self._scratch.execute("INSERT INTO members VALUES (?,?)", (number, file))
            if copies > 1:
                self._scratch.execute("INSERT INTO groups VALUES (?,?,?,?)", (number, cid, size, copies))
            if number % _PAGE == 0 and self._stopped():
                break
        self._scratch.execute("COMMIT")

    def _gather_pairs(self) -> None:
        """Counts for each further place of a leaf the pair of its file and of the file where the leaf was first."""
        query = """
            SELECT m.digest, m.file, m.size, a.id, b.id, a.cid, b.cid, a.dev, b.dev, a.ino, b.ino
            FROM (SELECT * FROM more_leaves WHERE (digest, file) > (?, ?) ORDER BY digest, file LIMIT ?) AS m
            JOIN leaves AS l ON l.digest = m.digest
            LEFT JOIN files AS a ON a.id = l.file LEFT JOIN files AS b ON b.id = m.file ORDER BY m.digest, m.file"""
        at: tuple[bytes, int] = (b"", -1)
        while not self._stopped():
            with self._index._db.reading() as run:
                rows = run.execute(query, (*at, _PAGE)).fetchall()
            if not rows:
                return
            at = rows[-1][:2]
            pairs: dict[tuple[int, int], tuple[int, int]] = {}
            for _, _, size, a, b, cid_a, cid_b, dev_a, dev_b, ino_a, ino_b in rows:
                gone = a is None or b is None
                if gone or (dev_a, ino_a) == (dev_b, ino_b) or (cid_a is not None and cid_a == cid_b):
                    continue
                so_far, leaves = pairs.get((a, b), (0, 0))
                pairs[a, b] = (so_far + size, leaves + 1)
            self._write(
                "INSERT INTO pairs VALUES (?,?,?,?) "
                "ON CONFLICT (a, b) DO UPDATE SET bytes = bytes + excluded.bytes, leaves = leaves + excluded.leaves",
                [(*pair, *sums) for pair, sums in pairs.items()],
            )

    def _write(self, query: str, rows: Sequence[tuple[object, ...]]) -> None:
        self._scratch.execute("BEGIN")
        self._scratch.executemany(query, rows)
        self._scratch.execute("COMMIT")

    # Telling

    def _living(self, group: int) -> tuple[int, list[_File]]:
        """Gives how many of a group are unchanged, and the first of them."""
        count, last = 0, -1
        first: list[_File] = []
        query = "SELECT id FROM members WHERE of = ? AND id > ? ORDER BY id LIMIT ?"
        while some := [row[0] for row in self._scratch.execute(query, (group, last, _PAGE)).fetchall()]:
            last = some[-1]
            for _, file in sorted(self._places(set(some)).items()):
                if file.is_unchanged():
                    count += 1
                    if len(first) < PATHS_MAX:
                        first.append(file)
        return count, first

    def _places(self, numbers: set[int]) -> dict[int, _File]:
        """Looks up files by their numbers."""
        found: dict[int, _File] = {}
        ordered = sorted(numbers)
        for start in range(0, len(ordered), 256):
            some = ordered[start : start + 256]
            marks = ",".join("?" * len(some))
            with self._index._db.reading() as run:
                query = f"SELECT id, path, cut, dev, ino, size, mtime, ctime FROM files WHERE id IN ({marks})"
                found.update((row[0], _File(row[1], row[2], Signature(*row[3:]))) for row in run.execute(query, some))
        return found


@contextmanager
def _typed() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as problem:  # of the scratch: the index types its own
        raise StoreError(f"cannot gather what is held twice: {problem}", hint="is there room for temporary files?") from problem
