"""The index of a disk cache: a SQLite database of what is held, how large, how coded, and when it was last used.

It may be lost at any time, for the blocks can be fetched again; so nothing is synced. The journal is a rollback journal,
not a write-ahead log: several processes write, and SQLite before 3.51.3 can damage a database whose log they reset at the
same time. Rules that keep it right:

* A write is one transaction, begun with BEGIN IMMEDIATE, so that it never has to give way halfway.
* Every read is fetched to its end at once, so that no read keeps writers out.
* ``totals`` is changed in the same transaction as ``blocks``, so that the quota needs no sum over all rows.

Blocks stand in two queues, each in order of use: those used once, and those used ``often`` (`wherry_cache.order`). A cache
that forgets the least recently used leaves all of them in the first one.
"""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from wherry.cid import CID

FORMAT: Final = 2
BUSY_S: Final = 30.0  # to wait for another process's write; one takes milliseconds
_PAGE_CACHE_KIB: Final = 4096
_AT_A_TIME: Final = 256  # parameters of a statement, or rows of a step

_BY_USE: Final = "CREATE INDEX blocks_by_use ON blocks (often, used)"
_SCHEMA: Final = (
    (
        "CREATE TABLE blocks (id INTEGER PRIMARY KEY, cid BLOB NOT NULL UNIQUE, size INTEGER, used INTEGER, inside INTEGER,"
        " bytes INTEGER, coding TEXT NOT NULL DEFAULT '', often INTEGER NOT NULL DEFAULT 0, at REAL NOT NULL DEFAULT 0)"
    ),
    _BY_USE,
    "CREATE TABLE small (id INTEGER PRIMARY KEY, data BLOB NOT NULL)",  # apart, so that a walk of blocks reads no data
    "CREATE TABLE totals (blocks INTEGER NOT NULL, bytes INTEGER NOT NULL, clock INTEGER NOT NULL, often INTEGER DEFAULT 0)",
    "INSERT INTO totals VALUES (0, 0, 0, 0)",
    "CREATE TABLE writers (token BLOB PRIMARY KEY)",  # who writes and has not closed; one that is left crashed
)
_FROM_1: Final = (  # format 1 knew plain blocks only, and one queue
    "ALTER TABLE blocks ADD COLUMN bytes INTEGER",
    "ALTER TABLE blocks ADD COLUMN coding TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE blocks ADD COLUMN often INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE blocks ADD COLUMN at REAL NOT NULL DEFAULT 0",
    "ALTER TABLE totals ADD COLUMN often INTEGER DEFAULT 0",
    "DROP INDEX blocks_used",
    _BY_USE,
    "UPDATE blocks SET bytes = size",
)


_ROW: Final = "blocks.id, cid, size, bytes, coding, inside, often, at"
_FIND: Final = f"SELECT {_ROW} FROM blocks WHERE cid IN (MARKS)"  # noqa: S608 - our own columns
# One statement for row and data: between two, another process could give a row's id to another block.
_READ: Final = f"SELECT {_ROW}, data FROM blocks LEFT JOIN small ON small.id = blocks.id WHERE cid IN (MARKS)"  # noqa: S608 - as above
_QUEUE: Final = f"SELECT {_ROW}, used FROM blocks WHERE often = ? ORDER BY used LIMIT ?"  # noqa: S608 - as above
_OLDEST: Final = f"SELECT * FROM (SELECT * FROM ({_QUEUE}) UNION ALL SELECT * FROM ({_QUEUE})) ORDER BY used LIMIT ?"  # noqa: S608 - as above
_AFTER: Final = f"SELECT {_ROW} FROM blocks WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608 - as above


class Damaged(sqlite3.DatabaseError):
    """The database can be read, and is not what it should be."""


class Row(NamedTuple):
    """A block in the index."""

    id: int
    cid: bytes
    size: int  # of the block itself
    bytes: int  # as kept
    coding: str
    inside: bool  # its data lies in the database; otherwise in a file of its own
    often: bool  # of the queue of those that were used again
    at: float  # when it was last used, in seconds since 1970


class Totals(NamedTuple):
    """What is held."""

    blocks: int
    bytes: int
    often: int  # of these bytes, those of blocks used again


class Index:
    """One connection to the database; the caller sees to it that one thread uses it at a time. Raises sqlite3.Error."""

    def __init__(self, path: Path, now: float = 0.0) -> None:
        """``now`` is when the blocks of an index of format 1, which knew no time, count as used."""
        self._token = secrets.token_bytes(16)
        self._announced = False
        self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            self._open(now)
        except UnicodeDecodeError as problem:  # of a damaged schema SQLite's own message is no text
            self._connection.close()
            raise Damaged("the cache's index holds bytes where text belongs") from problem
        except BaseException:
            self._connection.close()
            raise

    def _open(self, now: float) -> None:
        if not self._value("PRAGMA page_count"):
            # Pages of forgotten blocks can be given back to the disk; SQLite takes this only before the first table is made,
            # and later it would write, which a full disk refuses.
            self._connection.execute("PRAGMA auto_vacuum=INCREMENTAL").fetchall()
        for pragma in ("journal_mode=TRUNCATE", "synchronous=OFF", f"cache_size=-{_PAGE_CACHE_KIB}", "trusted_schema=OFF"):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()
        if self._value("PRAGMA user_version") == FORMAT:
            return
        with self.writing():
            found = self._value("PRAGMA user_version")
            if found == FORMAT:  # another process was faster
                return
            if found == 1:
                for statement in _FROM_1:
                    self._connection.execute(statement)
                self._connection.execute("UPDATE blocks SET at = ?", (now,))
            elif found or self._value("SELECT count(*) FROM sqlite_schema"):
                raise Damaged(f"the cache's index has format {found}, not {FORMAT}")
            else:
                for statement in _SCHEMA:
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {FORMAT}")

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

    @contextmanager
    def without_journal(self) -> Iterator[None]:
        """Keeps the journal in memory: a crash in a transaction inside may damage the database."""
        self._connection.execute("PRAGMA journal_mode=MEMORY").fetchall()
        try:
            yield
        finally:
            self._connection.execute("PRAGMA journal_mode=TRUNCATE").fetchall()

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
            for *row, data in self._connection.execute(statement, some).fetchall():
                found[row[1]] = (_row(row), data)
        return found

    def add(self, row: Row, data: bytes | None, *, used: int) -> None:
        """Adds a block that is not there, whatever ``row.id`` says; ``data`` is None if it lies in a file. Inside `writing`."""
        inserted = self._connection.execute(
            "INSERT INTO blocks (cid, size, bytes, coding, inside, often, at, used) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (bytes(row.cid), row.size, row.bytes, row.coding, data is not None, row.often, row.at, used),
        )
        if data is not None:
            self._connection.execute("INSERT INTO small VALUES (?, ?)", (inserted.lastrowid, data))
        self._connection.execute(
            "UPDATE totals SET blocks = blocks + 1, bytes = bytes + ?, often = often + ?",
            (row.bytes, row.bytes * row.often),
        )

    def remove(self, rows: Sequence[Row]) -> None:
        """Takes blocks out; their files are the caller's. Inside `writing`."""
        self._connection.executemany("DELETE FROM blocks WHERE id = ?", [(row.id,) for row in rows])
        self._connection.executemany("DELETE FROM small WHERE id = ?", [(row.id,) for row in rows if row.inside])
        self._connection.execute(
            "UPDATE totals SET blocks = blocks - ?, bytes = bytes - ?, often = often - ?",
            (len(rows), sum(row.bytes for row in rows), sum(row.bytes for row in rows if row.often)),
        )

    def ticks(self, count: int) -> range:
        """Gives the next ``count`` moments of the clock by which use is ordered. Inside `writing`."""
        now = self._value("UPDATE totals SET clock = clock + ? RETURNING clock", count)
        return range(now - count + 1, now + 1)

    def touch(self, uses: Mapping[CID, float], *, promote: bool) -> None:
        """Makes blocks the most recently used, the last one most; ``promote`` moves them to those used often. In `writing`."""
        if promote:
            rising = [row for row in self.find(uses).values() if not row.often]
            self._connection.executemany("UPDATE blocks SET often = 1 WHERE id = ?", [(row.id,) for row in rising])
            self._connection.execute("UPDATE totals SET often = often + ?", (sum(row.bytes for row in rising),))
        moments = zip(self.ticks(len(uses)), uses.values(), map(bytes, uses), strict=True)
        self._connection.executemany("UPDATE blocks SET used = ?, at = ? WHERE cid = ?", moments)

    def oldest(self, *, often: bool | None = None) -> list[Row]:
        """Gives some of the least recently used blocks, the oldest first: of both queues, or of one."""
        if often is not None:
            return [_row(row) for *row, _ in self._connection.execute(_QUEUE, (often, _AT_A_TIME)).fetchall()]
        both = (False, _AT_A_TIME, True, _AT_A_TIME, _AT_A_TIME)
        return [_row(row) for *row, _ in self._connection.execute(_OLDEST, both).fetchall()]

    def after(self, last_id: int) -> list[Row]:
        """Gives some of the blocks whose id is greater, in order of id: steps of a walk over all."""
        return self._rows(_AFTER, last_id, _AT_A_TIME)

    def look_over(self) -> None:
        """Reads a little of each table and of each order of its rows, so that a damage is met now rather than later."""
        self.totals()
        self.crashed()
        for row in (*self._rows(_AFTER, 0, 1), *self.oldest()[:1]):
            self._connection.execute(_READ.replace("MARKS", "?"), (row.cid,)).fetchall()
        self._connection.execute("SELECT * FROM small LIMIT 1").fetchall()

    def totals(self) -> Totals:
        """Gives the number of blocks and of their bytes."""
        rows = self._connection.execute("SELECT blocks, bytes, often FROM totals").fetchall()
        if not rows:
            raise Damaged("the cache's index has lost its totals")
        if not all(isinstance(value, int) and value >= 0 for value in rows[0]):
            raise Damaged(f"the cache's index counts {rows[0]}")
        return Totals(*rows[0])

    def give_back(self) -> None:
        """Gives pages that are no longer needed back to the disk, where the database was made so. Not inside `writing`."""
        self._connection.executescript("PRAGMA incremental_vacuum")  # `execute` would take one step, which is one page

    def crashed(self) -> bool:
        """Tells whether somebody wrote and never closed. True also for those who still write: ask when alone."""
        return bool(self._value("SELECT count(*) FROM writers"))

    def forget_crashes(self) -> None:
        """Says that what they left is cleared up, and counts again. Inside `writing`."""
        self._connection.execute("DELETE FROM writers")
        self._connection.execute(
            "UPDATE totals SET blocks = (SELECT count(*) FROM blocks), bytes = (SELECT coalesce(sum(bytes), 0) FROM blocks),"
            " often = (SELECT coalesce(sum(bytes), 0) FROM blocks WHERE often)"
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
        return [_row(row) for row in self._connection.execute(statement, arguments).fetchall()]


def _row(columns: Sequence[object]) -> Row:
    number, cid, size, length, coding, inside, often, at = columns
    for value, kind in ((number, int), (cid, bytes), (size, int), (length, int), (coding, str), (at, float)):
        if not isinstance(value, kind):  # SQLite's columns take any type, and a disk may rot
            raise Damaged(f"the cache's index holds {type(value).__name__} where {kind.__name__} belongs")
    return Row(number, cid, size, length, coding, bool(inside), bool(often), at)  # type: ignore[arg-type]  # looked at above


def _portions(cids: Iterable[CID]) -> Iterator[list[CID]]:
    items = list(dict.fromkeys(cids))
    for start in range(0, len(items), _AT_A_TIME):
        yield items[start : start + _AT_A_TIME]
