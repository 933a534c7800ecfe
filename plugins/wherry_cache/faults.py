"""What an error of SQLite says of a disk cache: that its index is damaged, or the disk full; and what core is told of it."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wherry.errors import NoSpace, StoreError, Unwritable
from wherry_cache.index import Damaged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.errors import WherryError


def is_damage(problem: sqlite3.Error) -> bool:
    """Tells whether the database itself is wrong; SQLITE_ERROR is a table or column that is missing."""
    if isinstance(problem, sqlite3.OperationalError) and not hasattr(problem, "sqlite_errorcode"):
        return True  # of Python itself: there are bytes where text belongs
    return isinstance(problem, Damaged) or _code(problem) in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,
    )


def is_full(problem: sqlite3.Error) -> bool:
    """Tells whether the disk may have been full; of a journal that found no room SQLite may say SQLITE_IOERR."""
    return _code(problem) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


@contextmanager
def suppress_full() -> Iterator[None]:
    """Lets go of what a full disk does not let be done now, and the next one who opens the cache does as well."""
    try:
        yield
    except sqlite3.OperationalError as problem:
        if not is_full(problem):
            raise


def store_error(problem: sqlite3.Error, doing: str) -> WherryError:
    """Gives an error of SQLite its type."""
    code, text = _code(problem), f"{doing}: {problem}"
    if code == sqlite3.SQLITE_FULL:
        return NoSpace(text, hint="free some space, or set a smaller max_bytes under [cache.disk]")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR):
        return Unwritable(text, hint="check the permissions of that folder, or choose another path under [cache.disk]")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(text, hint="another process holds it; try again")
    return StoreError(text, hint="its index is damaged; it is made anew when nobody else has the cache open")


def _code(problem: sqlite3.Error) -> int:
    return getattr(problem, "sqlite_errorcode", 0) & 0xFF
