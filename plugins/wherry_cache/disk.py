"""DiskCache: small blocks in a SQLite database, larger ones in files of their own, shared by any number of processes.

The order of writes, with what a crash between two steps leaves:

    put      files aside (orphans in tmp/) -> [ transaction: remove the files of those forgotten (rows without a file)
             -> give the new files their names (files without a row) -> rows ]
    delete   [ transaction: files out (rows without a file) -> rows out ]

A row without a file is a miss, and is taken out when it is met. A file without a row is taken in, as the least recently
used, by the next one who opens the cache alone and finds that a writer never closed.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from wherry.abc.cache import Cache, CacheUsage
from wherry.cid import CID
from wherry.errors import NoSpace, StoreError, Unwritable, WherryError, local_error
from wherry.units import KiB
from wherry_cache.files import BlockFiles, mark_damaged
from wherry_cache.index import Damaged, Index

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from wherry.block import Block
    from wherry_cache.index import Row

INSIDE_BYTES_MAX: Final = 64 * KiB  # up to here a row is faster than a file, and a folder of small files costs a page each
USES_MAX: Final = 1024  # hits remembered before they are written, so that a hit costs no write


class DiskCache(Cache):
    """Keeps blocks in ``folder``. Thread-safe; other processes may have the same folder open, with quotas of their own."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Opens the cache, and clears up behind those who crashed. Raises StoreError, NoSpace or Unwritable."""
        self._max_bytes = max_bytes
        self._hits = self._misses = self._evictions = 0
        self._used: dict[CID, None] = {}  # hits that the index does not know of yet, the last one last
        self._lock = threading.RLock()  # of the index and the counts; file reads and writes go on beside it
        self._closed = False
        self._folder = folder
        with self._mapped("opening"), ExitStack() as undo:
            self._files = BlockFiles(folder)
            undo.callback(self._files.close)
            with self._files.opening() as alone:
                anew = alone and self._files.damaged
                self._index = self._open_index(anew=anew, alone=alone)
                undo.callback(self._index.close)
                if alone:
                    self._clear_up()
            if self._index.totals()[1] > max_bytes:  # the quota was lowered
                with self._index.writing():
                    self._make_room(0)
            undo.pop_all()

    def _open_index(self, *, anew: bool, alone: bool) -> Index:
        path = self._folder / "index.db"
        if not anew:
            try:
                return Index(path)
            except sqlite3.DatabaseError as problem:
                if not alone or not _is_damage(problem):
                    raise
        mark_damaged(self._folder)  # until the blocks' files are in the new one
        for name in ("index.db", "index.db-journal"):
            (self._folder / name).unlink(missing_ok=True)
        return Index(path)

    def _clear_up(self) -> None:
        """Puts right what a crash, or a damaged index, left. Only when alone."""
        self._files.clear_tmp()
        if self._files.damaged or self._index.crashed():
            self._drop_rows_without_file()
            self._adopt()
            with self._index.writing():
                self._index.forget_crashes()
            self._files.unmark_damaged()

    def _drop_rows_without_file(self) -> None:
        last = 0
        while rows := self._index.after(last):
            last = rows[-1].id
            lost = [row for row in rows if not row.inside and not self._files.has(row.cid, row.size)]
            with self._index.writing():
                self._index.remove(lost)

    def _adopt(self) -> None:
        """Takes in the files that the index does not know of, as the least recently used."""
        for blocks in self._files.found():
            known = self._index.find([cid for cid, _ in blocks])
            with self._index.writing():
                for cid, size in blocks:
                    if cid not in known:
                        self._index.add(cid, size, None, used=0)
                    elif known[cid].inside:
                        self._files.remove(cid)

    def get_many(self, cids: Sequence[CID]) -> list[bytes | None]:
        """Gives each block's bytes, or None. A damaged or lost file is None. Raises StoreError if the index is damaged."""
        with self._mapped("reading"):
            with self._lock:
                rows = self._index.read(cids)
            found: dict[bytes, bytes] = {}
            lost: list[Row] = []
            for cid, (row, inside) in rows.items():
                data = inside if row.inside else self._files.read(cid, row.size)
                if data is None:
                    lost.append(row)
                else:
                    found[cid] = data
            self._note(cids, found)
            if lost:
                self._forget_lost(lost)
        return [found.get(cid) for cid in cids]

    def _note(self, cids: Sequence[CID], found: dict[bytes, bytes]) -> None:
        """Counts hits and misses, and remembers the hits."""
        with self._lock:
            for cid in cids:
                if cid in found:
                    self._hits += 1
                    self._used.pop(cid, None)
                    self._used[cid] = None
                else:
                    self._misses += 1
            if len(self._used) >= USES_MAX:
                with suppress(sqlite3.OperationalError), self._index.writing():  # a full disk is no reason to miss
                    self._write_uses()

    def _write_uses(self) -> None:
        """Tells the index of the hits. Inside a transaction."""
        if self._used:
            self._index.touch(list(self._used))
            self._used.clear()

    def _forget_lost(self, lost: Sequence[Row]) -> None:
        """Takes out rows whose data is gone, unless somebody put it back meanwhile."""
        with self._lock, suppress(sqlite3.OperationalError), self._index.writing():  # nor is it here
            again = self._index.read([CID(row.cid) for row in lost]).values()
            gone = [row for row, data in again if data is None and (row.inside or not self._files.has(row.cid, row.size))]
            self._index.remove(gone)
            self._remove_files(gone)

    def put_many(self, blocks: Sequence[Block]) -> None:
        """Keeps what is new and fits; forgets others until the quota holds. Raises NoSpace, Unwritable or StoreError."""
        with self._mapped("writing"):
            wanted = self._fitting(blocks)
            if not wanted:
                return
            with self._lock:
                held = self._index.find(wanted)
                self._index.announce()
            aside: dict[CID, Path] = {}
            try:
                for cid, data in wanted.items():
                    if cid not in held and len(data) > INSIDE_BYTES_MAX:
                        aside[cid] = self._files.write(data)
                with self._lock, self._index.writing():
                    self._write_uses()
                    self._add(wanted, aside)
            finally:
                for path in aside.values():  # those that got their name are gone from here
                    path.unlink(missing_ok=True)

    def _fitting(self, blocks: Sequence[Block]) -> dict[CID, bytes]:
        """Gives what of ``blocks`` can be kept: nothing above the quota, and of more than the quota the last ones."""
        wanted: dict[CID, bytes] = {}
        room = self._max_bytes
        for cid, data in reversed(blocks):
            if cid not in wanted and len(data) <= room:
                room -= len(data)
                wanted[cid] = bytes(data)  # bytes itself is not copied
        return dict(reversed(wanted.items()))

    def _add(self, wanted: dict[CID, bytes], aside: dict[CID, Path]) -> None:
        """Makes room, gives the files their names, and enters the rows. Inside a transaction."""
        held = self._index.find(wanted)
        self._index.touch([cid for cid in wanted if cid in held])
        new = [cid for cid in wanted if cid not in held and (cid in aside or len(wanted[cid]) <= INSIDE_BYTES_MAX)]
        self._make_room(sum(len(wanted[cid]) for cid in new))
        for cid, used in zip(new, self._index.ticks(len(new)), strict=True):
            if cid in aside:
                self._files.place(aside[cid], cid)
            self._index.add(cid, len(wanted[cid]), None if cid in aside else wanted[cid], used=used)

    def _make_room(self, coming: int) -> None:
        """Forgets the least recently used until ``coming`` bytes fit. Inside a transaction."""
        excess = self._index.totals()[1] + coming - self._max_bytes
        while excess > 0 and (rows := self._index.oldest()):
            victims: list[Row] = []
            for row in rows:
                if excess <= 0:
                    break
                victims.append(row)
                excess -= row.size
            self._remove_files(victims)
            self._index.remove(victims)
            self._evictions += len(victims)

    def _remove_files(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if not row.inside:
                self._files.remove(row.cid)

    def sizes(self, cids: Sequence[CID]) -> list[int | None]:
        """Gives the sizes of the blocks that the index knows."""
        with self._mapped("reading"), self._lock:
            held = self._index.find(cids)
        return [held[cid].size if cid in held else None for cid in cids]

    def delete_many(self, cids: Sequence[CID]) -> None:
        """Forgets blocks."""
        with self._mapped("writing"), self._lock:
            if not self._index.find(cids):
                return
            self._index.announce()
            with self._index.writing():
                rows = list(self._index.find(cids).values())
                self._remove_files(rows)
                self._index.remove(rows)
            for cid in cids:
                self._used.pop(cid, None)

    def cids(self) -> Iterator[CID]:
        """Lists what is held, some hundred at a time, so that a long list keeps nobody waiting."""
        last = 0
        while True:
            with self._mapped("reading"), self._lock:
                rows = self._index.after(last)
            if not rows:
                return
            yield from (CID(row.cid) for row in rows)
            last = rows[-1].id

    def usage(self) -> CacheUsage:
        """Tells sizes of the whole cache, and counts of this process."""
        with self._mapped("reading"), self._lock:
            blocks, size = self._index.totals()
            return CacheUsage(blocks, size, self._max_bytes, self._hits, self._misses, self._evictions)

    def close(self) -> None:
        """Writes what is remembered of use, and closes. What cannot be written is forgotten."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            with suppress(sqlite3.Error):  # the order of use may be lost, and closing must not fail
                if self._used:
                    with self._index.writing():
                        self._write_uses()
            with suppress(sqlite3.Error):
                self._index.close()
            self._files.close()

    @contextmanager
    def _mapped(self, doing: str) -> Iterator[None]:
        """Gives the errors of SQLite and of the system their types."""
        place = str(self._folder)
        try:
            yield
        except sqlite3.Error as problem:
            if _is_damage(problem):
                mark_damaged(self._folder)
            raise _store_error(problem, f"{doing} the cache {place!r}") from problem
        except OSError as problem:
            error = local_error(problem, f"{doing} the cache", place)
            if not isinstance(error, NoSpace | Unwritable):
                error = Unwritable(error.message, hint="choose another path under [cache.disk]")
            raise error from problem


def _code(problem: sqlite3.Error) -> int:
    return getattr(problem, "sqlite_errorcode", 0) & 0xFF


def _is_damage(problem: sqlite3.Error) -> bool:
    """Tells whether the database itself is wrong; SQLITE_ERROR is a table or column that is missing."""
    return isinstance(problem, Damaged) or _code(problem) in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,
    )


def _store_error(problem: sqlite3.Error, doing: str) -> WherryError:
    code, text = _code(problem), f"{doing}: {problem}"
    if code == sqlite3.SQLITE_FULL:
        return NoSpace(text, hint="free some space, or set a smaller max_bytes under [cache.disk]")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR):
        return Unwritable(text, hint="check the permissions of that folder, or choose another path under [cache.disk]")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(text, hint="another process holds it; try again")
    return StoreError(text, hint="its index is damaged; it is made anew when nobody else has the cache open")
