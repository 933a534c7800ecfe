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
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from wherry.abc.cache import Cache, CacheUsage, Kept
from wherry.cid import CID
from wherry.errors import NoSpace, Unwritable, local_error
from wherry.units import KiB
from wherry_cache.faults import is_damage, is_full, store_error, suppress_full
from wherry_cache.files import BlockFiles, mark_damaged, nameable
from wherry_cache.index import Index, Row
from wherry_cache.order import ONCE_SHARE, victims_from_often

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from wherry_cache.order import Eviction

INSIDE_BYTES_MAX: Final = 64 * KiB  # up to here a row is faster than a file, and a folder of small files costs a page each
USES_MAX: Final = 1024  # hits remembered before they are written, so that a hit costs no write


class DiskCache(Cache):
    """Keeps blocks in ``folder``. Thread-safe; other processes may have the same folder open, with options of their own."""

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        *,
        ttl: float = 0.0,
        min_free: int = 0,
        eviction: Eviction = "lru",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Opens the cache, and clears up behind those who crashed. Raises StoreError, NoSpace or Unwritable.

        ``ttl``: seconds after which a block that was not used is gone (0: never), by ``clock``, which all processes that
        share the folder read alike. ``min_free``: bytes that are left free on the disk.
        """
        self._max_bytes, self._min_free = max_bytes, min_free
        self._ttl, self._clock = ttl, clock
        self._eviction: Eviction = eviction
        self._hits = self._misses = self._evictions = 0
        self._used: dict[CID, float] = {}  # hits that the index does not know of yet, and when; the last one last
        self._lock = threading.RLock()  # of the index and the counts; file reads and writes go on beside it
        self._closed = False
        self._folder = folder
        with self._mapped("opening"), ExitStack() as undo:
            self._files = BlockFiles(folder)
            undo.callback(self._files.close)
            with self._files.opening() as alone:
                self._open_index(alone=alone)
            undo.callback(self._index.close)
            if self._index.totals().bytes > max_bytes:  # the quota was lowered
                with suppress_full():
                    self._even_if_full(self._keep_quota)
            undo.pop_all()

    def _open_index(self, *, alone: bool) -> None:
        """Opens the index, and makes it anew if it is damaged and nobody else has it open."""
        if not (alone and self._files.damaged):
            try:
                self._take_index(alone=alone)
            except sqlite3.DatabaseError as problem:
                if not alone or not is_damage(problem):
                    raise
            else:
                return
        mark_damaged(self._folder)  # until the blocks' files are in the new one
        for name in ("index.db", "index.db-journal"):
            (self._folder / name).unlink(missing_ok=True)
        self._take_index(alone=alone)

    def _take_index(self, *, alone: bool) -> None:
        self._index = Index(self._folder / "index.db", self._clock())
        try:
            self._index.look_over()
            if alone:
                self._clear_up()
        except BaseException:
            self._index.close()
            raise

    def _clear_up(self) -> None:
        """Puts right what a crash, or a damaged index, left; on a full disk perhaps the next time. Only when alone."""
        self._files.clear_tmp()
        if self._files.damaged or self._index.crashed():
            with suppress_full():
                self._even_if_full(self._put_right)
                self._files.unmark_damaged()

    def _put_right(self) -> None:
        self._drop_rows_without_file()
        self._adopt()
        with self._index.writing():
            self._index.forget_crashes()

    def _keep_quota(self) -> None:
        with self._index.writing():
            self._make_room(0)

    def _even_if_full(self, change: Callable[[], None]) -> None:
        """Changes the index, also where the disk has no room for SQLite's journal; ``change`` may be begun twice."""
        try:
            change()
        except sqlite3.OperationalError as problem:
            if not is_full(problem):
                raise
            with self._files.risking(), self._index.without_journal():  # it finds no room, and this makes some
                change()
                self._index.give_back()

    def _drop_rows_without_file(self) -> None:
        last = 0
        while rows := self._index.after(last):
            last = rows[-1].id
            lost = [row for row in rows if not row.inside and not self._files.has(self._path(row), row.bytes)]
            with self._index.writing():
                self._index.remove(lost)

    def _adopt(self) -> None:
        """Takes in the files that the index does not know of, as the least recently used."""
        now = self._clock()
        for blocks in self._files.found():
            known = self._index.find([name.cid for name, _ in blocks])
            with self._index.writing():
                for name, length in blocks:
                    row = Row(0, name.cid, length if name.size is None else name.size, length, name.coding, False, False, now)
                    found = known.get(name.cid)
                    if found is None:
                        self._index.add(row, None, used=0)
                        known[name.cid] = row
                    elif found.inside or self._path(found) != self._path(row):
                        self._files.remove(self._path(row))

    def _path(self, row: Row) -> Path:
        return self._files.path(row.cid, row.size, row.coding)

    # Reading

    def get_many(self, cids: Sequence[CID]) -> list[Kept | None]:
        """Gives each block as it was put, or None; a damaged or lost file is None. Raises StoreError for a damaged index."""
        found: dict[CID, Kept] = {}
        lost: list[Row] = []
        with self._mapped("reading"):
            with self._lock:
                rows = self._index.read(cids)
            now = self._clock()
            for cid in dict.fromkeys(cids):
                if cid not in rows or self._expired(rows[cid][0], now):
                    continue
                row, inside = rows[cid]
                data = inside if row.inside else self._files.read(self._path(row), row.bytes)
                if data is None or len(data) != row.bytes:
                    lost.append(row)
                else:
                    found[cid] = Kept(cid, data, row.size, row.coding)
            self._note(cids, found, now)
            if lost:
                self._forget_lost(lost)
        return [found.get(cid) for cid in cids]

    def _expired(self, row: Row, now: float) -> bool:
        """Tells whether a block was not used for too long; also if it was used so far in the future, by a wrong clock."""
        return bool(self._ttl) and abs(now - max(row.at, self._used.get(CID(row.cid), row.at))) > self._ttl

    def _note(self, cids: Sequence[CID], found: dict[CID, Kept], now: float) -> None:
        """Counts hits and misses, and remembers the hits."""
        with self._lock:
            for cid in cids:
                if cid in found:
                    self._hits += 1
                    self._used.pop(cid, None)
                    self._used[cid] = now
                else:
                    self._misses += 1
            if len(self._used) >= USES_MAX:
                try:
                    with self._index.writing():
                        self._write_uses()
                except sqlite3.OperationalError:  # a full disk is no reason to miss, to remember ever more, or to try each time
                    for cid in list(self._used)[: len(self._used) - USES_MAX // 2]:
                        del self._used[cid]

    def _write_uses(self) -> None:
        """Tells the index of the hits. Inside a transaction."""
        if self._used:
            self._index.touch(self._used, promote=self._eviction == "2q")
            self._used.clear()

    def _forget_lost(self, lost: Sequence[Row]) -> None:
        """Takes out rows whose data is gone, unless somebody put it back meanwhile."""
        with self._lock, suppress(sqlite3.OperationalError, OSError), self._index.writing():  # nor is it here
            again = self._index.read([CID(row.cid) for row in lost]).values()
            self._forget([row for row, data in again if not self._whole(row, data)])

    def _whole(self, row: Row, data: bytes | None) -> bool:
        return len(data or b"") == row.bytes if row.inside else self._files.has(self._path(row), row.bytes)

    def sizes(self, cids: Sequence[CID]) -> list[int | None]:
        """Gives the sizes of the blocks that the index knows."""
        with self._mapped("reading"), self._lock:
            held = self._index.find(cids)
            now = self._clock()
            return [held[cid].size if cid in held and not self._expired(held[cid], now) else None for cid in cids]

    def cids(self) -> Iterator[CID]:
        """Lists what is held, some hundred at a time, so that a long list keeps nobody waiting."""
        last = 0
        while True:
            with self._mapped("reading"), self._lock:
                rows = self._index.after(last)
                now = self._clock()
                fresh = [CID(row.cid) for row in rows if not self._expired(row, now)]
            if not rows:
                return
            yield from fresh
            last = rows[-1].id

    def usage(self) -> CacheUsage:
        """Tells sizes of the whole cache, and counts of this process."""
        with self._mapped("reading"), self._lock:
            if self._ttl and any(self._expired(row, self._clock()) for row in self._index.oldest()):
                with suppress(sqlite3.OperationalError), self._index.writing():  # a full disk: they are counted a while longer
                    self._expire()
            held = self._index.totals()
            return CacheUsage(held.blocks, held.bytes, self._max_bytes, self._hits, self._misses, self._evictions)

    # Writing

    def put_many(self, blocks: Sequence[Kept]) -> None:
        """Keeps what is new and fits; forgets others until the quota holds. Raises NoSpace, Unwritable or StoreError."""
        with self._mapped("writing"):
            wanted = self._fitting(blocks)
            if not wanted:
                return
            with self._lock:
                held = self._index.find(wanted)
                self._index.announce()
            new = [kept for cid, kept in wanted.items() if cid not in held]
            if self._min_free and new and not self._leave_free(sum(len(kept.data) for kept in new)):
                return
            aside: dict[CID, Path] = {}
            try:
                for kept in new:
                    if not _inside(kept):
                        aside[kept.cid] = self._files.write(kept.data)
                with self._lock, self._index.writing():
                    self._write_uses()
                    self._expire()
                    self._add(wanted, aside)
            finally:
                for path in aside.values():  # those that got their name are gone from here
                    path.unlink(missing_ok=True)

    def _fitting(self, blocks: Sequence[Kept]) -> dict[CID, Kept]:
        """Gives what of ``blocks`` can be kept: nothing above the quota, and of more than the quota the last ones."""
        wanted: dict[CID, Kept] = {}
        room = self._max_bytes
        for kept in reversed(blocks):
            if kept.cid not in wanted and len(kept.data) <= room:
                room -= len(kept.data)
                wanted[kept.cid] = kept._replace(data=bytes(kept.data))  # bytes itself is not copied
        return dict(reversed(wanted.items()))

    def _add(self, wanted: dict[CID, Kept], aside: dict[CID, Path]) -> None:
        """Makes room, gives the files their names, and enters the rows. Inside a transaction."""
        now = self._clock()
        held = self._index.find(wanted)
        self._index.touch({cid: now for cid in wanted if cid in held}, promote=self._eviction == "2q")
        new = [kept for cid, kept in wanted.items() if cid not in held and (cid in aside or _inside(kept))]
        self._make_room(sum(len(kept.data) for kept in new))
        for kept, used in zip(new, self._index.ticks(len(new)), strict=True):
            row = Row(0, kept.cid, kept.size, len(kept.data), kept.coding, kept.cid not in aside, False, now)
            if kept.cid in aside:
                self._files.place(aside[kept.cid], self._path(row))
            self._index.add(row, kept.data if row.inside else None, used=used)

    def _make_room(self, coming: int) -> None:
        """Forgets until ``coming`` bytes fit into the quota. Inside a transaction."""
        self._shrink(self._index.totals().bytes + coming - self._max_bytes)

    def _shrink(self, excess: int) -> None:
        """Forgets ``excess`` bytes, or all. Inside a transaction."""
        while excess > 0:
            held = self._index.totals()
            once = held.bytes - held.often
            often = victims_from_often(once, held.often, self._max_bytes) if self._eviction == "2q" else None
            victims: list[Row] = []
            for row in self._index.oldest(often=often):
                if excess <= 0 or (often is False and victims and held.often and once <= ONCE_SHARE * self._max_bytes):
                    break
                victims.append(row)
                excess -= row.bytes
                once -= row.bytes
            if not victims:
                return
            self._forget(victims)
            self._evictions += len(victims)

    def _expire(self) -> None:
        """Forgets what was not used for too long. Inside a transaction."""
        if not self._ttl:
            return
        self._write_uses()
        now = self._clock()
        while rows := self._index.oldest():
            gone = [row for row in rows if self._expired(row, now)]
            self._forget(gone)
            if len(gone) < len(rows):
                return

    def _leave_free(self, coming: int) -> bool:
        """Forgets until ``coming`` bytes more would leave enough of the disk free; tells whether they do."""
        short = self._min_free + coming - self._files.free()
        if short > 0:
            with self._lock:
                with self._index.writing():
                    self._write_uses()
                    self._shrink(short)
                self._index.give_back()
            short = self._min_free + coming - self._files.free()
        return short <= 0

    def _forget(self, rows: Sequence[Row]) -> None:
        """Takes blocks out, files first. Inside a transaction."""
        for row in rows:
            if not row.inside:
                self._files.remove(self._path(row))
        self._index.remove(rows)

    def delete_many(self, cids: Sequence[CID]) -> None:
        """Forgets blocks, also on a full disk."""
        with self._mapped("writing"), self._lock:
            if not self._index.find(cids):
                return
            self._even_if_full(partial(self._delete, cids))
            for cid in cids:
                self._used.pop(cid, None)

    def _delete(self, cids: Sequence[CID]) -> None:
        self._index.announce()
        with self._index.writing():
            self._forget(list(self._index.find(cids).values()))
        if not self._index.totals().blocks:
            self._index.give_back()

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
            if is_damage(problem):
                mark_damaged(self._folder)
            raise store_error(problem, f"{doing} the cache {place!r}") from problem
        except OSError as problem:
            error = local_error(problem, f"{doing} the cache", place)
            if not isinstance(error, NoSpace | Unwritable):
                error = Unwritable(error.message, hint="choose another path under [cache.disk]")
            raise error from problem


def _inside(kept: Kept) -> bool:
    """Tells whether a block is kept in the database: a small one, and one whose coding no file can be named by."""
    return len(kept.data) <= INSIDE_BYTES_MAX or not nameable(kept.coding)
