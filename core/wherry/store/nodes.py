"""Manifest nodes: blocks that have no file of their own and must not be lost (specs/0005 §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from wherry.block import Block, checked
from wherry.errors import IntegrityError
from wherry.store.database import AT_ONCE, Database, insert_columns

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wherry.cid import CID

_SCHEMA: Final = "CREATE TABLE nodes (cid BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID"
_SLICE: Final = 512  # nodes made ready at a time
_COPIED: Final = 4096  # bytes of a value below which a copy is cheap
_PAGE_BYTES: Final = 16_384  # the usual node fits into a page; with 4 KiB most had one of their own (specs/decisions/0003)
_NONE: Final[dict[bytes, bytes]] = {}
_ROOM: Final = 3  # times its size that must be free for it to be written anew, which takes two


class NodeDB:
    """nodes.db: durable; what is read is hashed again before it is given out."""

    def __init__(self, home: Path) -> None:
        self._db = Database(home / "nodes.db", _SCHEMA, 1, synchronous="FULL", what="node store", page_bytes=_PAGE_BYTES)

    def put_many(self, blocks: Sequence[Block], more: Mapping[bytes, bytes] = _NONE) -> int:
        """Keeps blocks, and ``more`` by their CIDs, on disk when it returns. Gives how many of ``blocks`` were new."""
        if not blocks and not more:
            return 0
        with self._db.writing() as run:
            # Those of UnixFS come first in the order of keys (0x70 before 0x71): in a new file, all are appended.
            _insert(run, more)
            return _insert(run, dict[bytes, bytes](blocks))

    def get_many(self, cids: Sequence[CID]) -> dict[CID, Block]:
        """Gives those that are held. Raises IntegrityError if the disk has damaged one."""
        origin = str(self._db.path)
        found = {}
        for cid, data in self._values("data", cids):
            if not isinstance(data, bytes):  # one flipped bit in a row makes text of bytes
                raise IntegrityError(f"block {cid}: what {origin} has for it is no bytes")
            found[cid] = checked(cid, data, origin=origin)
        return found

    def sizes(self, cids: Sequence[CID]) -> dict[CID, int]:
        """Gives the sizes in bytes of those that are held, without reading them."""
        return dict(self._values("length(data)", cids))

    def _values(self, what: str, cids: Sequence[CID]) -> list[tuple[CID, Any]]:
        """Gives a value of each of those that are held."""
        found: list[tuple[CID, Any]] = []
        wanted = {bytes(cid): cid for cid in cids}
        keys = list(wanted)
        with self._db.reading() as run:
            for start in range(0, len(keys), AT_ONCE):
                some = keys[start : start + AT_ONCE]
                marks = ",".join("?" * len(some))
                rows = run.execute(f"SELECT cid, {what} FROM nodes WHERE cid IN ({marks})", some)
                found += [(wanted[key], value) for key, value in rows]
        return found

    def holds_leaves(self) -> bool:
        """Tells whether any of them is a leaf: one that came with a CAR, and lies in no file."""
        with self._db.reading() as run:
            return run.execute("SELECT 1 FROM nodes WHERE cid >= x'0155' AND cid < x'0156' LIMIT 1").fetchone() is not None

    def usage(self) -> tuple[int, int]:
        """Gives the number of nodes and their bytes."""
        with self._db.reading() as run:
            count, size = run.execute("SELECT count(*), coalesce(sum(length(data)), 0) FROM nodes").fetchone()
        return count, size

    def sound(self) -> bool:
        """Has SQLite look through the whole file for damage. Raises StoreError if it cannot even be read."""
        return self._db.sound()

    def repage(self, free: int) -> bool:
        """Gives a file of an earlier wherry the pages that one has which is made now; tells whether it did.

        Nobody else may use the home. It is left where ``free``, in bytes, is little. Raises StoreError, NoSpace; what is in
        it is there in any case.
        """
        if self._db.page_bytes() == _PAGE_BYTES or free < _ROOM * self._db.path.stat().st_size:
            return False
        self._db.repage(_PAGE_BYTES)
        return True

    def close(self) -> None:
        """Closes the file."""
        self._db.close()


def _insert(run: sqlite3.Connection, nodes: Mapping[bytes, bytes]) -> int:
    """Inserts what is not there; gives how many those are."""
    before = run.total_changes
    cids = sorted(nodes)
    for start in range(0, len(cids), _SLICE):  # copied, but not all at once
        some = cids[start : start + _SLICE]
        datas = [bytearray(data) if len(data) < _COPIED else data for data in map(nodes.__getitem__, some)]
        insert_columns(run, "INSERT OR IGNORE INTO nodes", ([*map(bytearray, some)], datas))
    return run.total_changes - before
