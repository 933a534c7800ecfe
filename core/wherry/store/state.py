"""What must survive anything: which trees this node has, and where; the daemon's transfers (specs/0005 §3). Durable."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.cid import CID
from wherry.store.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_ROOTS: Final = """
CREATE TABLE roots (
    cid BLOB NOT NULL, path TEXT NOT NULL, how TEXT NOT NULL, options TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (cid, path)
) WITHOUT ROWID
"""
# AUTOINCREMENT: a number is the name of a transfer for ever, also when that one was forgotten.
_TRANSFERS: Final = "CREATE TABLE transfers (number INTEGER PRIMARY KEY AUTOINCREMENT, record TEXT NOT NULL)"
_VERSION: Final = 2
_STEPS: Final = {1: _TRANSFERS}


class RootRow(NamedTuple):
    """A tree or file on this machine that is the content of ``cid``. ``how`` is "add" or "get"."""

    cid: CID
    path: str  # absolute
    how: str
    options: dict[str, str]  # what makes the same CID again: chunker, mtime
    at: int  # seconds since 1970


class StateDB:
    """state.db: acknowledged roots, and transfers. Every write is on disk when the call returns. Safe for threads."""

    def __init__(self, home: Path) -> None:
        schema = f"{_ROOTS};{_TRANSFERS}"
        self._db = Database(home / "state.db", schema, _VERSION, synchronous="FULL", what="state", steps=_STEPS)

    def put_root(self, cid: CID, path: str, how: str, options: dict[str, str]) -> None:
        """Acknowledges that ``path`` holds the content of ``cid``."""
        with self._db.writing() as run:
            run.execute(
                "INSERT OR REPLACE INTO roots VALUES (?,?,?,?,?)", (cid, path, how, json.dumps(options), int(time.time()))
            )

    def drop_root(self, cid: CID, path: str) -> None:
        """Forgets that ``path`` holds ``cid``."""
        with self._db.writing() as run:
            run.execute("DELETE FROM roots WHERE cid=? AND path=?", (cid, path))

    def roots(self, cid: CID | None = None) -> list[RootRow]:
        """Lists the roots, or those of one CID, newest first."""
        where, values = ("WHERE cid=?", (bytes(cid),)) if cid is not None else ("", ())
        with self._db.reading() as run:
            rows = run.execute(f"SELECT cid, path, how, options, at FROM roots {where} ORDER BY at DESC", values).fetchall()
        return [RootRow(CID(row[0]), row[1], row[2], json.loads(row[3]), row[4]) for row in rows]

    def add_transfer(self, record: str) -> int:
        """Keeps a new transfer (specs/0027 §3); gives its number, which no other one ever had."""
        with self._db.writing() as run:
            number: int | None = run.execute("INSERT INTO transfers (record) VALUES (?)", (record,)).lastrowid
        return number or 0

    def put_transfer(self, number: int, record: str) -> None:
        """Keeps what a transfer is now."""
        with self._db.writing() as run:
            run.execute("UPDATE transfers SET record=? WHERE number=?", (record, number))

    def drop_transfers(self, numbers: Iterable[int]) -> None:
        """Forgets transfers."""
        with self._db.writing() as run:
            run.executemany("DELETE FROM transfers WHERE number=?", [(number,) for number in numbers])

    def transfers(self) -> list[tuple[int, str]]:
        """Lists the numbers and records of all transfers, the oldest first."""
        with self._db.reading() as run:
            return run.execute("SELECT number, record FROM transfers ORDER BY number").fetchall()

    def sound(self) -> bool:
        """Has SQLite look through the whole file for damage. Raises StoreError if it cannot even be read."""
        return self._db.sound()

    def close(self) -> None:
        """Closes the file."""
        self._db.close()
