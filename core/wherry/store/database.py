"""Opening SQLite the one way that is safe here (specs/decisions/0003).

Rollback journal, not WAL: the SQLite of common Pythons (before 3.51.3) can corrupt a WAL when several processes write and
checkpoint, and several wherry processes do share one home. Readers wait for a writer's commit, which takes milliseconds
because every transaction is kept small.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal

from wherry.errors import HomeTooNew, NoSpace, StoreError, Unwritable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_BUSY_S: Final = 30.0
_REPAIR: Final = "`wherry repair` makes a damaged index again; a damaged state.db or nodes.db needs a copy, or `wherry add`"
AT_ONCE: Final = 256  # values in one query
_ROWS: Final = 32  # in one statement: fewer than 999 values, the most that every SQLite takes
_CACHE_KIB: Final = 4096  # the page cache counts towards the process's 100 MB


class Database:
    """One SQLite file with one connection, for all threads of this process in turn."""

    def __init__(
        self,
        path: Path,
        schema: str,
        version: int,
        *,
        synchronous: Literal["FULL", "NORMAL"],
        what: str,
        steps: Mapping[int, str] | None = None,
        page_bytes: int = 4096,
        damaged: str = _REPAIR,
    ) -> None:
        """Opens or creates ``path``; ``steps`` bring a file of an older version one version further, each by its own SQL.

        ``page_bytes`` holds for a file that is created; ``damaged`` is the hint for one that cannot be read.

        Raises StoreError if it is damaged, HomeTooNew if a newer wherry wrote it.
        """
        self.path = path
        self._what = what
        self._damaged = damaged
        self._lock = threading.RLock()
        with self._typed():
            self._connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            with self._typed():
                self._connection.execute(f"PRAGMA page_size={page_bytes}")
                self._prepare({0: schema} | dict(steps or {}), version, synchronous)
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self, steps: Mapping[int, str], version: int, synchronous: str) -> None:
        run = self._connection.execute
        run("PRAGMA trusted_schema=OFF")
        run("PRAGMA cell_size_check=ON")
        run("PRAGMA mmap_size=0")
        run(f"PRAGMA cache_size=-{_CACHE_KIB}")
        run(f"PRAGMA synchronous={synchronous}")
        run("PRAGMA journal_mode=TRUNCATE")
        if self._version() < version:
            run("BEGIN IMMEDIATE")
            try:
                found = self._version()  # looked at again: another process may have made it meanwhile
                while found < version:
                    for statement in steps[found].split(";"):
                        run(statement)
                    found = found + 1 if found else version
                    run(f"PRAGMA user_version={found}")
                run("COMMIT")
            except BaseException:
                self._connection.rollback()
                raise
        found = self._version()
        if found > version:
            what = f"{self._what} {self.path} has format {found}, this wherry reads up to {version}"
            raise HomeTooNew(what, hint="upgrade wherry")

    def _version(self) -> int:
        found: int = self._connection.execute("PRAGMA user_version").fetchone()[0]
        return found

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Holds the connection for one or more queries."""
        with self._lock, self._typed():
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Holds the connection for one transaction, committed at the end; rolled back if the block raises."""
        with self._lock, self._typed():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")  # may fail: a full disk, a reader that does not end
            except BaseException:
                self._connection.rollback()
                raise

    def sound(self) -> bool:
        """Has SQLite look through the whole file for damage. Raises StoreError if it cannot even be read."""
        with self.reading() as run:
            return bool(run.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")

    def check(self) -> None:
        """Looks at every page; raises StoreError if one is damaged."""
        with self.reading() as run:
            said = run.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok":
            raise StoreError(f"{self._what} {self.path}: {said}", hint=self._damaged)

    def page_bytes(self) -> int:
        """Gives the length of a page of the file as it is."""
        with self.reading() as run:
            return int(run.execute("PRAGMA page_size").fetchone()[0])

    def repage(self, page_bytes: int) -> None:
        """Writes the whole file anew with such pages; needs room for it twice meanwhile, and nobody else in it.

        Killed or failed in the midst, the file is as it was: SQLite keeps what it replaces in the journal. Raises StoreError,
        NoSpace.
        """
        with self.reading() as run:  # no WAL, in which pages keep their length
            run.execute(f"PRAGMA page_size={page_bytes}")
            run.execute("VACUUM")

    def close(self) -> None:
        """Closes the file; idempotent."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _typed(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as problem:
            raise self._error(problem) from problem
        except UnicodeDecodeError as problem:  # of a damaged schema SQLite's own message is no text
            raise StoreError(f"{self._what} {self.path}: what should be text is not", hint=self._damaged) from problem

    def _error(self, problem: sqlite3.Error) -> StoreError | NoSpace | Unwritable:
        name = problem.sqlite_errorname if hasattr(problem, "sqlite_errorname") else ""
        what = f"{self._what} {self.path}: {problem}"
        if name == "SQLITE_FULL":
            return NoSpace(what, hint="free some space and run the same command again")
        if name in ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM") or name.startswith(
            ("SQLITE_IOERR", "SQLITE_READONLY")
        ):
            return Unwritable(what, hint="check the permissions and the disk of wherry's home")
        if name.startswith("SQLITE_BUSY"):
            return StoreError(f"{what} for {_BUSY_S:.0f} s", hint="another wherry process is writing; try again")
        if name in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
            return StoreError(what, hint=self._damaged)
        return StoreError(what)


def insert(run: sqlite3.Connection, into: str, rows: Iterable[Sequence[object]]) -> None:
    """Inserts rows, ``into`` being a statement without its values; many at once, since half of the time is for statements.

    Give bytes as bytearrays where they are short: Python looks for an adapter of each value that is bytes, and of no bytearray.
    """
    left = iter(rows)
    while some := list(islice(left, _ROWS)):
        row = f"({','.join('?' * len(some[0]))})"
        run.execute(f"{into} VALUES {','.join([row] * len(some))}", [value for values in some for value in values])


def insert_columns(run: sqlite3.Connection, into: str, columns: Sequence[Sequence[object]]) -> None:
    """As `insert`, of columns of one length: nothing is made for a row."""
    width = len(columns)
    values: list[object] = [None] * (width * len(columns[0]))
    for at, column in enumerate(columns):
        values[at::width] = column
    row = f"({','.join('?' * width)})"
    for start in range(0, len(values), width * _ROWS):
        some = values[start : start + width * _ROWS]
        run.execute(f"{into} VALUES {','.join([row] * (len(some) // width))}", some)
