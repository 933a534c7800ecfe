"""The index that `wherry repair` makes beside the one in force, and puts into its place when it is whole (specs/0005 §6)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from wherry.errors import HomeTooNew, StoreError, local_error
from wherry.safetree import sync_dir
from wherry.store.index import NAME, Index

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_NEW: Final = f"{NAME}.new"
_BELOW: Final = "INSERT OR IGNORE INTO files SELECT * FROM old.files WHERE path=? OR (path>? AND path<?)"
# Places of files that came over: those of all others were found again, by reading.
_CAME: Final = "SELECT * FROM old.{table} WHERE file < {first} AND file IN (SELECT id FROM files)"


class NewIndex(Index):
    """index.db.new. Until `put_in_force`, all that a process can do to it, or that can be done to the process, loses nothing.

    Its numbers of files go on behind those of the index in force, which stays open beside it.
    """

    def __init__(self, home: Path) -> None:
        """Begins it; removes one that was left behind. Needs the home alone. Raises StoreError, NoSpace, Unwritable."""
        self._home = home
        self._remove(_NEW)
        super().__init__(home, _NEW)
        try:
            with self._db.reading() as run:
                run.execute("ATTACH DATABASE ? AS old", (os.fsencode(home / NAME),))
            with self._db.writing() as run:
                self._first: int = run.execute("SELECT next FROM old.counter").fetchone()[0]
                run.execute("UPDATE counter SET next=?", (self._first,))
        except BaseException:
            self.discard()
            raise

    def carry_over(self, paths: Iterable[str]) -> None:
        """Takes what the index in force says of files at or below ``paths`` that were not recorded here: they were not read.

        One transaction, which takes as long as reading the whole of that index.
        """
        with self._db.writing() as run:
            for path in paths:
                below = path.rstrip("/")
                run.execute(_BELOW, (path, below + "/", below + "0"))
            for table in ("leaves", "more_leaves"):
                came = _CAME.format(table=table, first=self._first)
                run.execute(f"INSERT OR IGNORE INTO leaves {came}")
                # Whose first place is in another file has a further one here.
                run.execute(
                    f"""INSERT OR IGNORE INTO more_leaves SELECT c.* FROM ({came}) AS c
                        JOIN leaves ON leaves.digest = c.digest WHERE leaves.file <> c.file"""
                )
            for table in ("sealed", "progress"):
                run.execute(f"INSERT OR IGNORE INTO {table} {_CAME.format(table=table, first=self._first)}")

    def put_in_force(self) -> None:
        """Closes it and brings it to disk, and then gives it the name of the index in force, which must be closed.

        Raises LocalError; the one in force then is whole, whichever it is.
        """
        self.close()
        path = self._home / _NEW
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            path.replace(self._home / NAME)
        except OSError as problem:
            raise local_error(problem, "cannot put the new index into place:", str(path)) from problem
        sync_dir(str(self._home))

    def discard(self) -> None:
        """Closes it, and removes it if it was not put in force; idempotent."""
        self.close()
        self._remove(_NEW)

    def _remove(self, name: str) -> None:
        try:
            for each in (name, f"{name}-journal"):
                (self._home / each).unlink(missing_ok=True)
        except OSError as problem:
            raise local_error(problem, "cannot remove", str(self._home / name)) from problem


def left_behind(home: Path) -> int:
    """Gives how many bytes a repair that did not finish left behind; 0: none did."""
    try:
        return (home / _NEW).stat().st_size
    except OSError:
        return 0


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
        for name in (NAME, f"{NAME}-journal"):
            (home / name).unlink(missing_ok=True)
        return True
    return False
