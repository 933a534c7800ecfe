"""What a tracker remembers: who has what, where, until when. SQLite, bounded in every direction (specs/0028 §4).

A place is a node at one set of addresses: two processes of one node do not overwrite each other. When a bound is reached,
what was said longest ago goes, first of the network that is over its share.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from wherry.errors import DataError
from wherry.ipns.record import opened
from wherry.store.database import Database
from wherry_locate.multiaddr import DETAILS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from wherry.ipns.name import Name
    from wherry.ipns.record import Record
    from wherry_locate.announcement import Announcement
    from wherry_locate.server.options import TrackerServerOptions

_SCHEMA: Final = """
CREATE TABLE places (
    id INTEGER PRIMARY KEY, peer TEXT NOT NULL, addrs TEXT NOT NULL, protocols TEXT NOT NULL, net TEXT NOT NULL,
    at INTEGER NOT NULL, said REAL NOT NULL, expires REAL NOT NULL, records INTEGER NOT NULL, UNIQUE (peer, addrs)
);
CREATE INDEX places_net ON places (net, said);
CREATE INDEX places_said ON places (said);
CREATE INDEX places_expires ON places (expires);
CREATE TABLE provides (
    digest BLOB NOT NULL, place INTEGER NOT NULL, partial INTEGER NOT NULL, expires REAL NOT NULL, PRIMARY KEY (digest, place)
) WITHOUT ROWID;
CREATE INDEX provides_place ON provides (place, expires);
CREATE INDEX provides_expires ON provides (expires)
"""
_NAMES: Final = """
CREATE TABLE names (
    name BLOB PRIMARY KEY, record BLOB NOT NULL, net TEXT NOT NULL, said REAL NOT NULL, expires REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX names_net ON names (net, said);
CREATE INDEX names_said ON names (said);
CREATE INDEX names_expires ON names (expires)
"""
_STEPS: Final = {1: _NAMES}  # version 2 came with names
_SWEEP_ROWS: Final = 5000  # removed in one transaction, so that nobody waits long


class Listed(NamedTuple):
    """A node as the book has it at one place."""

    peer: str
    addrs: list[str]
    protocols: list[str]
    partial: bool
    expires: float  # seconds since 1970


class Book:
    """The records of one tracker. Its methods block; call them from threads, as many as you like."""

    def __init__(self, path: Path, options: TrackerServerOptions) -> None:
        """Opens or makes the file at ``path``. Raises StoreError, HomeTooNew."""
        self._options = options
        self._db = Database(
            path, ";".join([_SCHEMA, *_STEPS.values()]), 1 + len(_STEPS), synchronous="NORMAL", what="tracker", steps=_STEPS,
            damaged="give --store another file, or move this one away: what peers announce again is soon there",
        )  # fmt: skip
        self._lock = threading.Lock()  # one announcement at a time: bounds are looked at, then changed
        with self._db.reading() as run:
            self._records, self._places = run.execute("SELECT ifnull(sum(records), 0), count(*) FROM places").fetchone()

    def announce(self, said: Announcement, addrs: Sequence[str], net: str, now: float, ttl_s: float) -> None:
        """Takes down that ``said.peer`` has ``said.cids`` at ``addrs``, in the network ``net``, for ``ttl_s`` seconds.

        ``now`` is in seconds since 1970. Raises DataError for an announcement that is not newer than the last one.
        """
        expires = now + ttl_s
        with self._changing() as run:
            place, fresh = self._place(run, said, (_joined(addrs), net), now, expires)
            for cid in said.cids:
                self._provide(run, cid.digest, place, net, partial=said.partial, expires=expires)
            self._trim_place(run, place)
            self._count(run, place)
            self._trim_network(run, net, place)
            self._places += fresh
            self._trim_all(run, place)

    def put_name(self, record: Record, net: str, now: float) -> bool:
        """Keeps a verified record that came from the network ``net``, if it is the best of its name; tells whether it is.

        Who was silent longest makes room: first of that network, then of all. A name stays with the network that it first came
        from: else a stranger who puts it again could let his own names push it out.
        """
        options, name = self._options, bytes(record.name)
        with self._db.writing() as run:
            row = run.execute("SELECT record, net FROM names WHERE name=? AND expires>?", (name, now)).fetchone()
            if row is not None and opened(row[0], record.name).rank > record.rank:
                return False
            net = row[1] if row is not None else net
            expires = min(record.until_ns / 1e9, now + options.names_s_max)
            run.execute("INSERT OR REPLACE INTO names VALUES (?,?,?,?,?)", (name, record.binary, net, now, expires))
            for where, values, most in (
                ("WHERE net=?", (net,), options.names_per_network),
                ("", (), options.names_max),
            ):
                surplus = run.execute(f"SELECT count(*) FROM names {where}", values).fetchone()[0] - most  # noqa: S608 - own text
                if surplus > 0:
                    silent = f"SELECT name FROM names {where} ORDER BY said, name=? LIMIT ?"  # noqa: S608 - likewise
                    run.execute(f"DELETE FROM names WHERE name IN ({silent})", (*values, name, surplus))  # noqa: S608 - likewise
        return True

    def name(self, name: Name, now: float) -> Record | None:
        """Gives the best record of a name that is not over."""
        with self._db.reading() as run:
            row = run.execute("SELECT record FROM names WHERE name=? AND expires>?", (bytes(name), now)).fetchone()
        return opened(row[0], name) if row is not None else None

    def withdraw(self, said: Announcement, addrs: Sequence[str], now: float) -> None:
        """Forgets what ``said.peer`` said of ``said.cids``, or of everything for none, at ``addrs``. As `announce` raises."""
        with self._changing() as run:
            row = run.execute("SELECT id, at FROM places WHERE peer=? AND addrs=?", (said.peer, _joined(addrs))).fetchone()
            if row is None:
                return
            place = row[0]
            _check_newer(said.at, row[1])
            # The place stays for as long as a copy of an earlier announcement would be taken for new.
            kept = now + self._options.skew_s_behind + self._options.skew_s_ahead
            run.execute("UPDATE places SET at=?, expires=max(expires, ?) WHERE id=?", (said.at, kept, place))
            if said.cids:
                run.executemany("DELETE FROM provides WHERE digest=? AND place=?", [(cid.digest, place) for cid in said.cids])
            else:
                run.execute("DELETE FROM provides WHERE place=?", (place,))
            self._count(run, place)

    def providers(self, digest: bytes, now: float) -> list[Listed]:
        """Gives all who have the block of ``digest`` now, those with the latest word first."""
        with self._db.reading() as run:
            rows = run.execute(
                "SELECT peer, addrs, protocols, partial, provides.expires FROM provides JOIN places ON place = id "
                "WHERE digest=? AND provides.expires>? ORDER BY provides.expires DESC LIMIT ?",
                (digest, now, self._options.records_per_cid),
            ).fetchall()
        return [Listed(row[0], json.loads(row[1]), json.loads(row[2]), bool(row[3]), row[4]) for row in rows]

    def peer(self, peer: str, now: float) -> list[Listed]:
        """Gives the places at which a node has anything now."""
        with self._db.reading() as run:
            rows = run.execute(
                "SELECT addrs, protocols, expires FROM places WHERE peer=? AND EXISTS "
                "(SELECT 1 FROM provides WHERE place=id AND provides.expires>?) ORDER BY said DESC",
                (peer, now),
            ).fetchall()
        return [Listed(peer, json.loads(row[0]), json.loads(row[1]), partial=False, expires=row[2]) for row in rows]

    def sweep(self, now: float) -> bool:
        """Removes some of what has expired; tells whether there is more."""
        with self._changing() as run:
            rows = run.execute(
                "SELECT digest, place FROM provides WHERE expires<=? LIMIT ?", (now, _SWEEP_ROWS)
            ).fetchall()  # as a list first: what is read is not changed meanwhile
            run.executemany("DELETE FROM provides WHERE digest=? AND place=?", rows)
            for place in {row[1] for row in rows}:
                self._count(run, place)
            gone = run.execute("SELECT id FROM places WHERE expires<=? AND records=0 LIMIT ?", (now, _SWEEP_ROWS)).fetchall()
            run.executemany("DELETE FROM places WHERE id=?", gone)
            self._places -= len(gone)
            over = "SELECT name FROM names WHERE expires<=? LIMIT ?"
            run.execute(f"DELETE FROM names WHERE name IN ({over})", (now, _SWEEP_ROWS))  # noqa: S608 - text of our own
        return len(rows) == _SWEEP_ROWS or len(gone) == _SWEEP_ROWS

    def sizes(self) -> tuple[int, int]:
        """Gives how many places and how many records there are, what has expired and is not yet swept included."""
        return self._places, self._records

    def close(self) -> None:
        """Closes the file."""
        self._db.close()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """Holds the book for one transaction; the counts are as before if it fails."""
        with self._lock:
            before = self._records, self._places
            try:
                with self._db.writing() as run:
                    yield run
            except BaseException:
                self._records, self._places = before
                raise

    def _place(
        self, run: sqlite3.Connection, said: Announcement, where: tuple[str, str], now: float, expires: float
    ) -> tuple[int, int]:
        """Finds or makes the place, ``where`` being its addresses and network; gives it, and 1 if it is new."""
        joined, net = where
        row = run.execute("SELECT id, at FROM places WHERE peer=? AND addrs=?", (said.peer, joined)).fetchone()
        protocols = json.dumps(said.protocols)
        # So long would a copy of this very announcement be taken for new, if the place were forgotten.
        kept = max(expires, said.at / 1e6 + self._options.skew_s_behind)
        if row is not None:
            _check_newer(said.at, row[1])
            run.execute(
                "UPDATE places SET protocols=?, net=?, at=?, said=?, expires=max(expires, ?) WHERE id=?",
                (protocols, net, said.at, now, kept, row[0]),
            )
            return row[0], 0
        self._drop_oldest(run, "peer", said.peer, self._options.places_per_peer - 1)
        self._drop_oldest(run, "net", net, self._options.places_per_network - 1)
        row = (said.peer, joined, protocols, net, said.at, now, kept)
        made = run.execute("INSERT INTO places VALUES (NULL,?,?,?,?,?,?,?,0)", row)
        return made.lastrowid or 0, 1

    def _provide(self, run: sqlite3.Connection, digest: bytes, place: int, net: str, *, partial: bool, expires: float) -> None:
        """Takes down one pair; where a dataset has too many, the oldest go, of this network's own first."""
        changed = run.execute(
            "UPDATE provides SET partial=?, expires=? WHERE digest=? AND place=?", (partial, expires, digest, place)
        )
        if changed.rowcount:
            return
        run.execute("INSERT INTO provides VALUES (?,?,?,?)", (digest, place, partial, expires))
        (count,) = run.execute("SELECT count(*) FROM provides WHERE digest=?", (digest,)).fetchone()
        if count <= min(self._options.records_per_cid, self._options.records_per_cid_and_network):
            return
        rows = run.execute(
            "SELECT place, net FROM provides JOIN places ON place = id WHERE digest=? AND place<>? ORDER BY provides.expires",
            (digest, place),
        ).fetchall()
        own = [row[0] for row in rows if row[1] == net]
        over = own[: max(0, len(own) + 1 - self._options.records_per_cid_and_network)]
        left = [row[0] for row in rows if row[0] not in over]
        over += left[: max(0, len(left) + 1 - self._options.records_per_cid)]
        for other in over:
            run.execute("DELETE FROM provides WHERE digest=? AND place=?", (digest, other))
            self._count(run, other)

    def _trim_place(self, run: sqlite3.Connection, place: int) -> None:
        (count,) = run.execute("SELECT count(*) FROM provides WHERE place=?", (place,)).fetchone()
        over = count - self._options.records_per_place
        if over > 0:
            oldest = run.execute(
                "SELECT digest, place FROM provides WHERE place=? ORDER BY expires LIMIT ?", (place, over)
            ).fetchall()
            run.executemany("DELETE FROM provides WHERE digest=? AND place=?", oldest)

    def _trim_network(self, run: sqlite3.Connection, net: str, place: int) -> None:
        while True:
            (count,) = run.execute("SELECT ifnull(sum(records), 0) FROM places WHERE net=?", (net,)).fetchone()
            if count <= self._options.records_per_network:
                return
            row = run.execute("SELECT id FROM places WHERE net=? AND id<>? ORDER BY said LIMIT 1", (net, place)).fetchone()
            if row is None:
                return
            self._drop(run, row[0])

    def _trim_all(self, run: sqlite3.Connection, place: int) -> None:
        while self._records > self._options.records_max or self._places > self._options.places_max:
            row = run.execute("SELECT id FROM places WHERE id<>? ORDER BY said LIMIT 1", (place,)).fetchone()
            if row is None:
                return
            self._drop(run, row[0])

    def _drop_oldest(self, run: sqlite3.Connection, column: Literal["peer", "net"], value: str, most: int) -> None:
        """Drops the oldest places of one peer or network so that ``most`` are left."""
        query = f"SELECT id FROM places WHERE {column}=? ORDER BY said DESC LIMIT -1 OFFSET ?"  # noqa: S608 - a name of ours
        for (place,) in run.execute(query, (value, most)).fetchall():
            self._drop(run, place)

    def _drop(self, run: sqlite3.Connection, place: int) -> None:
        run.execute("DELETE FROM provides WHERE place=?", (place,))
        self._count(run, place)
        run.execute("DELETE FROM places WHERE id=?", (place,))
        self._places -= 1

    def _count(self, run: sqlite3.Connection, place: int) -> None:
        """Brings the count of a place's records, and that of all, to what is there."""
        (count,) = run.execute("SELECT count(*) FROM provides WHERE place=?", (place,)).fetchone()
        (before,) = run.execute("SELECT records FROM places WHERE id=?", (place,)).fetchone()
        run.execute("UPDATE places SET records=? WHERE id=?", (count, place))
        self._records += count - before


def _check_newer(at: int, last: int) -> None:
    if at <= last:
        raise DataError("an announcement of this node that is as new, or newer, is here already")


def _joined(addrs: Sequence[str]) -> str:
    return json.dumps(sorted(addrs))


def record_of(places: Sequence[Listed], *, of_dataset: bool) -> dict[str, Any]:
    """Makes the record of one peer, as Delegated Routing V1 has it, from its places.

    ``of_dataset``: the places are those of one dataset; then the record says whether the peer has all of it.
    """
    addrs = dict.fromkeys(addr for place in places for addr in place.addrs)
    protocols = dict.fromkeys(name for place in places for name in place.protocols)
    record: dict[str, Any] = {
        "Schema": "peer", "ID": places[0].peer, "Addrs": list(addrs), "Protocols": list(protocols)
    }  # fmt: skip
    if of_dataset:
        record[DETAILS] = {"complete": not all(place.partial for place in places)}
    return record
