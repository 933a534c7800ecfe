"""What must survive anything: which trees this node added or fetched, and where (specs/0005 §3). Small and durable."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.cid import CID
from wherry.store.database import Database

if TYPE_CHECKING:
    from pathlib import Path

_SCHEMA: Final = """
CREATE TABLE roots (
    cid BLOB NOT NULL, path TEXT NOT NULL, how TEXT NOT NULL, options TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (cid, path)
) WITHOUT ROWID
"""


class RootRow(NamedTuple):
    """A tree or file on this machine that is the content of ``cid``. ``how`` is "add" or "get"."""

    cid: CID
    path: str  # absolute
    how: str
    options: dict[str, str]  # what makes the same CID again: chunker, mtime
    at: int  # seconds since 1970


class StateDB:
    """state.db: acknowledged roots. Every write is on disk when the call returns."""

    def __init__(self, home: Path) -> None:
        self._db = Database(home / "state.db", _SCHEMA, 1, synchronous="FULL", what="state")

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

    def sound(self) -> bool:
        """Has SQLite look through the whole file for damage. Raises StoreError if it cannot even be read."""
        return self._db.sound()

    def close(self) -> None:
        """Closes the file."""
        self._db.close()
