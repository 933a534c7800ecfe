"""The index of a disk cache: a SQLite database of what is held, how large, and when it was last used.

It may be lost at any time, for the blocks can be fetched again; so nothing is synced. The journal is a rollback journal,
not a write-ahead log: several processes write, and SQLite before 3.51.3 can damage a database whose log they reset at the
same time. Rules that keep it right:

* A write is one transaction, begun with BEGIN IMMEDIATE, so that it never has to give way halfway.
* Every read is fetched to its end at once, so that no read keeps writers out.
* ``totals`` is changed in the same transaction as ``blocks``, so that the quota needs no sum over all rows.
"""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from wherry.cid import CID

FORMAT: Final = 1
BUSY_S: Final = 30.0  # to wait for another process's write; one takes milliseconds
_PAGE_CACHE_KIB: Final = 4096
_AT_A_TIME: Final = 256  # parameters of a statement, or rows of a step

_SCHEMA: Final = (
    "CREATE TABLE blocks (id INTEGER PRIMARY KEY, cid BLOB NOT NULL UNIQUE, size INTEGER, used INTEGER, inside INTEGER)",
    "CREATE INDEX blocks_used ON blocks (used)",
    "CREATE TABLE small (id INTEGER PRIMARY KEY, data BLOB NOT NULL)",  # apart, so that a walk of blocks reads no data
    "CREATE TABLE totals (blocks INTEGER NOT NULL, bytes INTEGER NOT NULL, clock INTEGER NOT NULL)",
    "INSERT INTO totals VALUES (0, 0, 0)",
    "CREATE TABLE writers (token BLOB PRIMARY KEY)",  # who writes and has not closed; one that is left crashed
    f"PRAGMA user_version = {FORMAT}",
)


_FIND: Final = "SELECT id, cid, size, inside FROM blocks WHERE cid IN (MARKS)"
# One statement for row and data: between two, another process could give a row's id to another block.
_READ: Final = (
    "SELECT blocks.id, cid, size, inside, data FROM blocks LEFT JOIN small ON small.id = blocks.id WHERE cid IN (MARKS)"
)


class Damaged(sqlite3.DatabaseError):
    """The database can be read, and is not what it should be."""


class Row(NamedTuple):
    """A block in the index."""

    id: int
    cid: bytes
    size: int
    inside: bool  # its data lies in the database; otherwise in a file of its own


class Index:
    """One connection to the database; the caller sees to it that one thread uses it at a time. Raises sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        self._token = secrets.token_bytes(16)
        self._announced = False
        self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            self._open()
        except BaseException:
            self._connection.close()
            raise

    def _open(self) -> None:
        for pragma in ("journal_mode=TRUNCATE", "synchronous=OFF", f"cache_size=-{_PAGE_CACHE_KIB}", "trusted_schema=OFF"):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()
        if self._value("PRAGMA user_version") == FORMAT:
            return
        with self.writing():
            found = self._value("PRAGMA user_version")
            if found == FORMAT:  # another process was faster
                return
            if found or self._value("SELECT count(*) FROM sqlite_schema"):
                raise Damaged(f"the cache's index has format {found}, not {FORMAT}")
            for statement in _SCHEMA:
                self._connection.execute(statement)

    def announce(self) -> None:
        """Says that this writer is at work, before it first puts a file in its place: a crash can then be seen."""
        if not self._announced:
            with self.writing():
                self._connection.execute("INSERT INTO writers VALUES (?)", (self._token,))
            self._announced = True

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Makes what is done inside one transaction."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def find(self, cids: Iterable[CID]) -> dict[bytes, Row]:
        """Looks blocks up."""
        found: dict[bytes, Row] = {}
        for some in _portions(cids):
            statement = _FIND.replace("MARKS", ",".join("?" * len(some)))
            found |= {row.cid: row for row in self._rows(statement, *some)}
        return found

    def read(self, cids: Iterable[CID]) -> dict[bytes, tuple[Row, bytes | None]]:
        """Looks blocks up, each with its data if that lies in the database."""
        found: dict[bytes, tuple[Row, bytes | None]] = {}
        for some in _portions(cids):
            statement = _READ.replace("MARKS", ",".join("?" * len(some)))
            for number, cid, size, inside, data in self._connection.execute(statement, some).fetchall():
                found[cid] = (Row(number, cid, size, bool(inside)), data)
        return found

    def add(self, cid: bytes, size: int, data: bytes | None, *, used: int) -> None:
        """Adds a block that is not there; ``data`` is None if it lies in a file. Inside `writing`."""
        inserted = self._connection.execute(
            "INSERT INTO blocks (cid, size, used, inside) VALUES (?, ?, ?, ?)", (bytes(cid), size, used, data is not None)
        )
        if data is not None:
            self._connection.execute("INSERT INTO small VALUES (?, ?)", (inserted.lastrowid, data))
        self._connection.execute("UPDATE totals SET blocks = blocks + 1, bytes = bytes + ?", (size,))

    def remove(self, rows: Sequence[Row]) -> None:
        """Takes blocks out; their files are the caller's. Inside `writing`."""
        self._connection.executemany("DELETE FROM blocks WHERE id = ?", [(row.id,) for row in rows])
        self._connection.executemany("DELETE FROM small WHERE id = ?", [(row.id,) for row in rows if row.inside])
        self._connection.execute(
            "UPDATE totals SET blocks = blocks - ?, bytes = bytes - ?", (len(rows), sum(row.size for row in rows))
        )

    def ticks(self, count: int) -> range:
        """Gives the next ``count`` moments of the clock by which use is ordered. Inside `writing`."""
        now = self._value("UPDATE totals SET clock = clock + ? RETURNING clock", count)
        return range(now - count + 1, now + 1)

    def touch(self, cids: Sequence[CID]) -> None:
        """Makes blocks the most recently used, the last one most. Inside `writing`."""
        moments = zip(self.ticks(len(cids)), map(bytes, cids), strict=True)
        self._connection.executemany("UPDATE blocks SET used = ? WHERE cid = ?", moments)

    def oldest(self) -> list[Row]:
        """Gives some of the least recently used blocks, the oldest first."""
        return self._rows("SELECT id, cid, size, inside FROM blocks ORDER BY used, id LIMIT ?", _AT_A_TIME)

    def after(self, last_id: int) -> list[Row]:
        """Gives some of the blocks whose id is greater, in order of id: steps of a walk over all."""
        return self._rows("SELECT id, cid, size, inside FROM blocks WHERE id > ? ORDER BY id LIMIT ?", last_id, _AT_A_TIME)

    def totals(self) -> tuple[int, int]:
        """Gives the number of blocks and of their bytes."""
        return self._value("SELECT blocks FROM totals"), self._value("SELECT bytes FROM totals")

    def crashed(self) -> bool:
        """Tells whether somebody wrote and never closed. True also for those who still write: ask when alone."""
        return bool(self._value("SELECT count(*) FROM writers"))

    def forget_crashes(self) -> None:
        """Says that what they left is cleared up, and counts again. Inside `writing`."""
        self._connection.execute("DELETE FROM writers")
        self._connection.execute(
            "UPDATE totals SET blocks = (SELECT count(*) FROM blocks), bytes = (SELECT coalesce(sum(size), 0) FROM blocks)"
        )

    def close(self) -> None:
        """Closes the connection; says that this writer left nothing half done."""
        try:
            if self._announced:
                with self.writing():
                    self._connection.execute("DELETE FROM writers WHERE token = ?", (self._token,))
        finally:
            self._connection.close()

    def _value(self, statement: str, *arguments: int) -> int:
        rows: list[tuple[int]] = self._connection.execute(statement, arguments).fetchall()
        if not rows:
            raise Damaged("the cache's index has lost its totals")
        return rows[0][0]

    def _rows(self, statement: str, *arguments: int | bytes) -> list[Row]:
        rows = self._connection.execute(statement, arguments).fetchall()
        return [Row(number, cid, size, bool(inside)) for number, cid, size, inside in rows]


def _portions(cids: Iterable[CID]) -> Iterator[list[CID]]:
    items = list(dict.fromkeys(cids))
    for start in range(0, len(items), _AT_A_TIME):
        yield items[start : start + _AT_A_TIME]
