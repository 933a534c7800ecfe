"""Adds places of leaves to the index, within one transaction of `wherry.store.index`: the first, and further ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from wherry.store.database import AT_ONCE, insert

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from wherry.store.index import LeafRow

_Row = TypeVar("_Row", bound="tuple[bytes, int, int, int] | tuple[bytes, int, int, int, bytes]")

_PLACES_MAX: Final = 8  # of a leaf besides the first: a tree may hold a million copies of one small file


class Fresh(NamedTuple):
    """What was not known before."""

    leaves: int = 0
    bytes: int = 0


def add_leaves(run: sqlite3.Connection, leaves: list[tuple[int, LeafRow]]) -> Fresh:
    """Adds leaves, each with the number of its file."""
    rows = [(leaf[0], file, leaf[1], leaf[2]) for file, leaf in leaves if not leaf[3]]
    sealed = [(leaf[0], file, leaf[1], leaf[2], leaf[3]) for file, leaf in leaves if leaf[3]]
    count = size = 0
    if rows:
        rows.sort()  # neighbours in the tree are written together
        before = run.total_changes
        insert(run, "INSERT OR IGNORE INTO leaves", ((bytearray(row[0]), *row[1:]) for row in rows))
        count = run.total_changes - before
        size = sum([row[3] for row in rows]) if count == len(rows) else _add_further_places(run, rows)
    if sealed:
        sealed.sort()
        before = run.total_changes
        insert(run, "INSERT OR IGNORE INTO sealed", sealed)
        new = run.total_changes - before
        count += new
        size += sum([row[3] for row in sealed]) if new == len(sealed) else _move_sealed(run, sealed)
    return Fresh(count, size)


def _move_sealed(run: sqlite3.Connection, rows: list[tuple[bytes, int, int, int, bytes]]) -> int:
    """Gives sealed leaves that were known the place that was added last; gives the bytes of those that were new.

    One place is enough: who has the key makes the block from it, and who has not can fetch it from others.
    """
    elsewhere = _elsewhere(run, "sealed", rows)
    for digest, file, offset, size, key in elsewhere:
        run.execute("UPDATE sealed SET file=?, offset=?, size=?, key=? WHERE digest=?", (file, offset, size, key, digest))
    return sum([row[3] for row in rows]) - sum([row[3] for row in elsewhere])


def _add_further_places(run: sqlite3.Connection, rows: list[tuple[bytes, int, int, int]]) -> int:
    """Keeps the places of leaves that were known: instead of a place in a file that is gone, or beside the first.

    Gives the bytes of the leaves among ``rows`` that were new.
    """
    elsewhere = _elsewhere(run, "leaves", rows)
    query = "SELECT file, files.id FROM leaves LEFT JOIN files ON files.id = leaves.file WHERE digest=?"
    for digest, file, offset, size in elsewhere:
        kept, known = run.execute(query, (digest,)).fetchone()
        if known is None:
            run.execute("UPDATE leaves SET file=?, offset=?, size=? WHERE digest=?", (file, offset, size, digest))
        elif kept != file and _has_room(run, digest):
            run.execute("INSERT OR REPLACE INTO more_leaves VALUES (?,?,?,?)", (digest, file, offset, size))
    return sum([row[3] for row in rows]) - sum([row[3] for row in elsewhere])


def _elsewhere(run: sqlite3.Connection, table: str, rows: Sequence[_Row]) -> list[_Row]:
    """Gives the rows whose leaf is kept in another place: few of a tree, so they are not looked for one by one."""
    found: list[_Row] = []
    for start in range(0, len(rows), AT_ONCE):
        some = rows[start : start + AT_ONCE]
        marks = ",".join("?" * len(some))
        query = f"SELECT digest, file, offset FROM {table} WHERE digest IN ({marks})"
        places = set(run.execute(query, [bytearray(row[0]) for row in some]))
        found += [row for row in some if row[:3] not in places]
    return found


def _has_room(run: sqlite3.Connection, digest: bytes) -> bool:
    """Tells whether one more place of a leaf is kept; forgets those in files that are gone, if that makes room."""
    query = "SELECT count(*) FROM more_leaves WHERE digest=?"
    if run.execute(query, (digest,)).fetchone()[0] < _PLACES_MAX:
        return True
    run.execute("DELETE FROM more_leaves WHERE digest=? AND file NOT IN (SELECT id FROM files)", (digest,))
    left: int = run.execute(query, (digest,)).fetchone()[0]
    return left < _PLACES_MAX
