"""What is remembered of peers, on disk (specs/0029 §2). May be thrown away: a node without it only knows nobody yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.acquaintance import Acquaintance, is_sane, surplus, told
from wherry.errors import HomeTooNew, LocalError, StoreError
from wherry.limits import PEERS_MAX, PEERS_NETWORK_MAX
from wherry.store.database import Database

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from wherry.acquaintance import News

NAME: Final = "peers.db"
_SCHEMA: Final = """
CREATE TABLE peers (
    key TEXT PRIMARY KEY, proven INTEGER NOT NULL, address TEXT NOT NULL, network TEXT NOT NULL, first REAL NOT NULL,
    last REAL NOT NULL, useful_at REAL NOT NULL, useful REAL NOT NULL, failed REAL NOT NULL, wrong REAL NOT NULL,
    rejected INTEGER NOT NULL, rate REAL NOT NULL, latency_s REAL NOT NULL, down INTEGER NOT NULL, up INTEGER NOT NULL
) WITHOUT ROWID
"""
_ALL: Final = ", ".join(Acquaintance._fields)
_MARKS: Final = ",".join("?" * len(Acquaintance._fields))


class PeersDB:
    """peers.db. Synchronous; safe for threads; several processes add to it side by side."""

    def __init__(self, home: Path) -> None:
        """Opens or makes it. Raises StoreError if it is damaged, HomeTooNew."""
        self._db = Database(home / NAME, _SCHEMA, 1, synchronous="NORMAL", what="memory of peers")

    def all(self) -> list[Acquaintance]:
        """Gives every peer; rows that make no sense are passed over. Raises StoreError if the file is damaged."""
        with self._db.reading() as run:
            rows = run.execute(f"SELECT {_ALL} FROM peers LIMIT {PEERS_MAX}").fetchall()
        return [peer for peer in map(_peer, rows) if is_sane(peer)]

    def add(self, news: Mapping[str, tuple[Acquaintance, News]], now: float) -> dict[str, Acquaintance | None]:
        """Adds what peers did, each given with what is known of one that is new here; one transaction.

        Gives what is remembered of them now; None: it was one too many. Raises StoreError and its kinds.
        """
        found: dict[str, Acquaintance | None] = {}
        with self._db.writing() as run:
            for key, (fresh, done) in news.items():
                row = run.execute(f"SELECT {_ALL} FROM peers WHERE key=?", (key,)).fetchone()
                known = _peer(row) if row is not None else None
                if known is None or not is_sane(known):
                    known = fresh
                peer = told(known._replace(address=fresh.address, network=fresh.network), done, now)
                run.execute(f"INSERT OR REPLACE INTO peers VALUES ({_MARKS})", peer)
                found[key] = peer
            for key in _surplus(run):
                run.execute("DELETE FROM peers WHERE key=?", (key,))
                if key in found:
                    found[key] = None
        return found

    def forget(self, keys: Sequence[str] | None = None) -> int:
        """Forgets some peers, or all; gives how many were there."""
        with self._db.writing() as run:
            if keys is None:
                return run.execute("DELETE FROM peers").rowcount
            return sum(run.execute("DELETE FROM peers WHERE key=?", (key,)).rowcount for key in keys)

    def sound(self) -> bool:
        """Has SQLite look through the whole file for damage. Raises StoreError if it cannot even be read."""
        return self._db.sound()

    def close(self) -> None:
        """Closes the file; idempotent."""
        self._db.close()


def open_or_anew(home: Path) -> tuple[PeersDB | None, list[Acquaintance]]:
    """Opens what is remembered, begins anew if that is damaged, and gives all of it.

    None: there is no memory on this disk, which is no reason to fail: a newer wherry's file, a full or broken disk.
    """
    for again in (False, True):
        opened: PeersDB | None = None
        try:
            opened = PeersDB(home)
            return opened, opened.all()
        except HomeTooNew:
            return None, []
        except LocalError:
            return None, []
        except StoreError as problem:
            if opened is not None:
                opened.close()
            if again or not _is_damage(problem):
                return None, []
            discard(home)
    return None, []


def discard_if_damaged(home: Path) -> bool:
    """Removes a file that is damaged anywhere, for `repair`, which has the home alone; tells whether it did."""
    opened: PeersDB | None = None
    try:
        opened = PeersDB(home)
        damaged = not opened.sound()
    except HomeTooNew:
        return False
    except StoreError:
        damaged = True
    finally:
        if opened is not None:
            opened.close()
    if damaged:
        discard(home)
    return damaged


def discard(home: Path) -> None:
    """Removes the file. A process that has it open goes on with what it knows. Raises OSError."""
    for name in (NAME, f"{NAME}-journal"):
        (home / name).unlink(missing_ok=True)


def _surplus(run: sqlite3.Connection) -> list[str]:
    """Names those that are too many, within the transaction that made them so."""
    most_of_one = "SELECT count(*) FROM peers WHERE network<>'' GROUP BY network ORDER BY 1 DESC LIMIT 1"
    crowd = run.execute(most_of_one).fetchone() or (0,)
    count = run.execute("SELECT count(*) FROM peers").fetchone()
    if count[0] <= PEERS_MAX and crowd[0] <= PEERS_NETWORK_MAX:
        return []
    return surplus({row[0]: _peer(row) for row in run.execute(f"SELECT {_ALL} FROM peers")})


def _is_damage(problem: StoreError) -> bool:
    """Tells whether the file is of no use any more; not so if another process only holds it for long."""
    return not getattr(problem.__cause__, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _peer(row: Sequence[object]) -> Acquaintance:
    peer = Acquaintance._make(row)
    return peer._replace(proven=bool(peer.proven))
