"""What must survive anything (specs/0005 §3): which trees this node has, and where; the daemon's transfers; who is banned.

Small and durable.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wherry.access import Rule, subject_of
from wherry.cid import CID, DAG_PB
from wherry.errors import CIDError, UsageError
from wherry.limits import AUTO_BANS_MAX, BAN_WHY_CHARS_MAX, RULES_MAX
from wherry.store.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from sqlite3 import Connection

    from wherry.access import Subject

_LOG: Final = logging.getLogger(__name__)
_ROOTS: Final = """
CREATE TABLE roots (
    cid BLOB NOT NULL, path TEXT NOT NULL, how TEXT NOT NULL, options TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (cid, path)
) WITHOUT ROWID
"""
# AUTOINCREMENT: a number is the name of a transfer for ever, also when that one was forgotten.
_TRANSFERS: Final = "CREATE TABLE transfers (number INTEGER PRIMARY KEY AUTOINCREMENT, record TEXT NOT NULL)"
_RULES: Final = """
CREATE TABLE rules (
    kind TEXT NOT NULL, what TEXT NOT NULL, allow INTEGER NOT NULL, since REAL NOT NULL, lasts REAL, why TEXT NOT NULL,
    maker TEXT NOT NULL, PRIMARY KEY (kind, what)
) WITHOUT ROWID
"""
# sequence: eight bytes, big-endian, as SQLite's numbers have a sign. since: when this record was first seen.
_NAMES: Final = """
CREATE TABLE names (
    name BLOB PRIMARY KEY, sequence BLOB NOT NULL, record BLOB NOT NULL, since REAL NOT NULL, key TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE name_events (
    id INTEGER PRIMARY KEY, name BLOB NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, sequence BLOB NOT NULL,
    said TEXT NOT NULL, record BLOB NOT NULL, UNIQUE (name, kind, sequence, record)
);
CREATE INDEX name_events_name ON name_events (name, id)
"""
# lifetime: seconds for which this home renews its own record; 0: it does not. What was published before counts two days.
_RENEWING: Final = """
ALTER TABLE names ADD COLUMN lifetime REAL NOT NULL DEFAULT 0;
UPDATE names SET lifetime = 172800 WHERE key <> ''
"""
# Version 2 came with the daemon, 3 with bans, 4 with names, 5 with their renewal.
_STEPS: Final = {1: _TRANSFERS, 2: _RULES, 3: _NAMES, 4: _RENEWING}
_SCHEMA: Final = ";".join([_ROOTS, *_STEPS.values()])


_DROP_SOONEST: Final = """
DELETE FROM rules WHERE (kind, what) IN (
    SELECT kind, what FROM rules WHERE maker='wherry' ORDER BY since + lasts LIMIT ?
)
"""


class RootRow(NamedTuple):
    """A tree or file on this machine that is the content of ``cid``. ``how`` is "add", "get" or "import".

    What was imported lies in the home itself: there ``path`` is that of the database.
    """

    cid: CID
    path: str  # absolute
    how: str
    options: dict[str, str]  # what makes the same CID again: chunker, mtime; unixfs: the CID of the twin
    at: int  # seconds since 1970


class StateDB:
    """state.db: acknowledged roots, transfers, and rules about peers. Every write is on disk when the call returns.

    Safe for threads.
    """

    def __init__(self, home: Path) -> None:
        self._db = Database(home / "state.db", _SCHEMA, 1 + len(_STEPS), synchronous="FULL", what="state", steps=_STEPS)

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
        """Lists the roots, or those of one CID, newest first; a root is also that of its twin in UnixFS (specs/0031 §9).

        Those that a disk has damaged so that they cannot be read are passed over, which is logged.
        """
        if cid is not None and cid.codec == DAG_PB:
            twin = str(cid)
            return [row for row in self.roots() if row.cid == cid or row.options.get("unixfs") == twin]
        where, values = ("WHERE cid=?", (bytes(cid),)) if cid is not None else ("", ())
        with self._db.reading() as run:
            rows = run.execute(f"SELECT cid, path, how, options, at FROM roots {where} ORDER BY at DESC", values).fetchall()
        found = [_root(row) for row in rows]
        if None in found:
            _LOG.warning("%d roots in state.db cannot be read and are passed over: `wherry add` them again", found.count(None))
        return [row for row in found if row is not None]

    # Transfers of the daemon (specs/0027 §3)

    def add_transfer(self, record: str) -> int:
        """Keeps a new transfer (specs/0027 §3); gives its number, which no other one ever had."""
        with self._db.writing() as run:
            number: int | None = run.execute("INSERT INTO transfers (record) VALUES (?)", (record,)).lastrowid
        return number or 0

    def put_transfer(self, number: int, record: str) -> None:
        """Keeps what a transfer is now."""
        with self._db.writing() as run:
            run.execute("UPDATE transfers SET record=? WHERE number=?", (record, number))

    def put_transfers(self, records: Sequence[tuple[int, str]]) -> None:
        """Keeps what several are now, by their numbers, at once."""
        with self._db.writing() as run:
            run.executemany("UPDATE transfers SET record=? WHERE number=?", [(record, number) for number, record in records])

    def drop_transfers(self, numbers: Iterable[int]) -> None:
        """Forgets transfers."""
        with self._db.writing() as run:
            run.executemany("DELETE FROM transfers WHERE number=?", [(number,) for number in numbers])

    def transfers(self) -> list[tuple[int, str]]:
        """Lists the numbers and records of all transfers, the oldest first."""
        with self._db.reading() as run:
            return run.execute("SELECT number, record FROM transfers ORDER BY number").fetchall()

    # Who is banned, and who is let in (specs/0029 §4)

    def put_rule(self, rule: Rule, *, unless_user: bool = False) -> bool:
        """Keeps a rule, instead of any about the same; ``unless_user``: not instead of one that the user made.

        False: it was not kept. Of wherry's own there are at most AUTO_BANS_MAX: those that end soonest go. Raises UsageError if
        the user has too many.
        """
        kind, what = rule.subject
        row = (kind, what, rule.allow, rule.since, rule.lasts_s, rule.why[:BAN_WHY_CHARS_MAX], rule.by)
        with self._db.writing() as run:
            old = run.execute("SELECT maker FROM rules WHERE kind=? AND what=?", (kind, what)).fetchone()
            if unless_user and old == ("user",):
                return False
            run.execute("INSERT OR REPLACE INTO rules VALUES (?,?,?,?,?,?,?)", row)
            count = run.execute("SELECT count(*) FROM rules WHERE maker=?", (rule.by,)).fetchone()[0]
            if rule.by == "wherry" and count > AUTO_BANS_MAX:
                run.execute(_DROP_SOONEST, (count - AUTO_BANS_MAX,))
            elif rule.by == "user" and count > RULES_MAX:
                hint = "take some back with `wherry peers unban`, or ban a network that holds them"
                raise UsageError(f"there are {RULES_MAX} bans already", hint=hint)
        return True

    def drop_rule(self, subject: Subject) -> bool:
        """Takes a rule back; tells whether it was there."""
        with self._db.writing() as run:
            return run.execute("DELETE FROM rules WHERE kind=? AND what=?", subject).rowcount > 0

    def drop_ended(self, rules: Iterable[Rule]) -> None:
        """Forgets rules that have ended, unless they were made anew meanwhile."""
        with self._db.writing() as run:
            keys = [(*rule.subject, rule.since) for rule in rules]
            run.executemany("DELETE FROM rules WHERE kind=? AND what=? AND since=?", keys)

    def restamp_rules(self, changed: Mapping[Subject, float]) -> None:
        """Writes anew since when rules hold, after the clock was set."""
        with self._db.writing() as run:
            run.executemany("UPDATE rules SET since=? WHERE kind=? AND what=?", [(at, *what) for what, at in changed.items()])

    def rules(self) -> list[Rule]:
        """Lists the rules; those that no wherry can have written are passed over."""
        with self._db.reading() as run:
            rows = run.execute("SELECT kind, what, allow, since, lasts, why, maker FROM rules ORDER BY since").fetchall()
        found = map(_rule, rows)
        return [rule for rule in found if rule is not None]

    # Names (specs/0034 §4); what a record may do is decided in `wherry.store.names`

    def writing(self) -> AbstractContextManager[Connection]:
        """Holds the file for one transaction, on disk when it ends."""
        return self._db.writing()

    def reading(self) -> AbstractContextManager[Connection]:
        """Holds the file for queries."""
        return self._db.reading()

    def changes(self) -> int:
        """Gives a number that is another one after another process wrote."""
        with self._db.reading() as run:
            number: int = run.execute("PRAGMA data_version").fetchone()[0]
        return number

    def sound(self) -> bool:
        """Has SQLite look through the whole file for damage. Raises StoreError if it cannot even be read."""
        return self._db.sound()

    def close(self) -> None:
        """Closes the file."""
        self._db.close()


def _root(row: tuple[Any, ...]) -> RootRow | None:
    cid, path, how, options, at = row
    try:
        made = json.loads(options)
        named = CID(cid)
    except (CIDError, TypeError, ValueError):
        return None
    sound = isinstance(path, str) and isinstance(how, str) and isinstance(at, int) and isinstance(made, dict)
    if not sound or not all(isinstance(value, str) for value in made.values()):
        return None
    return RootRow(named, path, how, made, at)


def _rule(row: tuple[Any, ...]) -> Rule | None:
    kind, what, allow, since, lasts, why, maker = row
    try:
        subject = subject_of(what)
    except UsageError:
        return None
    if tuple(subject) != (kind, what):
        return None
    return Rule(subject, bool(allow), since, lasts, why, maker)
