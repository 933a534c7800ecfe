"""What this node knows of names: the best record of each, durable before it is used, and what happened to it (specs/0034 §4).

A record that goes back, or says another thing under the same sequence number, changes nothing here and is written down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from wherry.errors import DataError, UsageError
from wherry.ipns.name import Name
from wherry.ipns.record import SEQUENCE_MAX, Record, create, opened, written
from wherry.limits import NAME_EVENTS_MAX

if TYPE_CHECKING:
    from sqlite3 import Connection

    from wherry.nodekey import NodeKey
    from wherry.store.state import StateDB

Verdict: TypeAlias = Literal["new", "renewed", "same", "rollback", "equivocation"]
_SOON: Final = 0.1  # of the time for which a record was known to be valid: then it should have been renewed
_CLOCKS_S: Final = 300.0  # how far two right clocks may be apart
_RENEW: Final = 1 / 3  # of the lifetime of an own record: then it is renewed, while two thirds are left to try


class Known(NamedTuple):
    """A name as this node knows it."""

    record: Record
    since: float  # when this record was first seen, seconds since 1970
    key: str  # the key here that publishes it; "" for a name of somebody else
    lifetime_s: float = 0.0  # a record made here: for so long it is renewed; 0: it is not

    @property
    def renew_at(self) -> float | None:
        """When a node that runs renews it, seconds since 1970; None: never."""
        return self.record.until_ns / 1e9 - (1 - _RENEW) * self.lifetime_s if self.lifetime_s else None

    def too_long(self, now: float) -> bool:
        """Tells whether a record made here is valid for longer than it was to be, so that a wrong clock signed it."""
        return bool(self.lifetime_s) and self.record.until_ns / 1e9 - now > self.lifetime_s + _CLOCKS_S


class NameEvent(NamedTuple):
    """Something that happened to a name."""

    at: float  # seconds since 1970
    kind: str  # "published", "new", "renewed", "rollback", "equivocation", "frozen"
    sequence: int
    said: str


class NameBook:
    """The names of a home. Blocks; safe for threads and for processes side by side."""

    def __init__(self, state: StateDB) -> None:
        self._state = state

    def known(self, name: Name) -> Known | None:
        """Gives what is known of a name. Raises StoreError."""
        with self._state.reading() as run:
            return _known(run, name)

    def all(self) -> list[Known]:
        """Lists all names that have a record here."""
        with self._state.reading() as run:
            names = [Name(row[0]) for row in run.execute("SELECT name FROM names ORDER BY key DESC, since")]
            return [found for name in names if (found := _known(run, name)) is not None]

    def own(self) -> list[Known]:
        """Lists the names whose record was made here and is to be renewed."""
        with self._state.reading() as run:
            names = [Name(row[0]) for row in run.execute("SELECT name FROM names WHERE lifetime > 0 ORDER BY key")]
            return [found for name in names if (found := _known(run, name)) is not None]

    def take(self, record: Record, now: float) -> Verdict:
        """Looks at a verified record, and keeps it if it is the best; on disk when this returns. Raises StoreError."""
        with self._state.writing() as run:
            before = _known(run, record.name)
            verdict, said = _judged(before.record if before else None, record)
            if verdict in ("new", "renewed"):
                # What another machine published with the same key is not this home's to renew; what it renewed still is.
                lifetime_s = before.lifetime_s if before and verdict == "renewed" else 0.0
                _put(run, record, now, before.key if before else "", lifetime_s)
            if verdict != "same":
                _event(run, record, now, verdict, said)
        return verdict

    def publish(
        self,
        key: NodeKey,
        label: str,
        value: str,
        now: float,
        *,
        lifetime_s: float,
        ttl_s: float,
        above: int = -1,
        renew: bool = True,
    ) -> Record:
        """Signs the next record of a key's name; its sequence number is on disk before anybody else can have seen it.

        It is above that of any record known here, and above ``above``. ``renew``: it may be renewed. Raises UsageError where
        the numbers are used up.
        """
        name = Name.of(key.public)
        with self._state.writing() as run:
            before = _known(run, name)
            sequence = max(before.record.sequence if before else -1, above) + 1
            if sequence > SEQUENCE_MAX:
                raise UsageError(f"the sequence numbers of {name} are used up", hint="publish under a new key")
            binary = create(key, value, sequence, int((now + lifetime_s) * 1e9), int(ttl_s * 1e9))
            record = opened(binary, name)
            _put(run, record, now, label, lifetime_s if renew else 0.0)
            _event(run, record, now, "published", value)
        return record

    def renew(self, key: NodeKey, now: float) -> Record | None:
        """Signs the record of a key's name again for a further lifetime, if that is due: the same but for its Validity.

        The number stays (specs/0034 §8). It is on disk when this returns. None: it is not due, or is not this home's to renew,
        also when another process was first.
        """
        name = Name.of(key.public)
        with self._state.writing() as run:
            before = _known(run, name)
            if before is None or before.renew_at is None or before.renew_at > now:
                return None
            old, until_ns = before.record, int((now + before.lifetime_s) * 1e9)
            if until_ns <= old.until_ns or _equivocated(run, name, old.sequence):
                return None
            record = opened(create(key, old.value, old.sequence, until_ns, old.ttl_ns), name)
            _put(run, record, now, before.key, before.lifetime_s)
            _event(run, record, now, "renewed", f"until {written(until_ns)}")
        return record

    def freshness(self, name: Name, now: float) -> str:
        """Says what is wrong with the age of the best record, or "". It is written down, too. Raises StoreError."""
        found = self.known(name)
        if found is None:
            return ""
        record, left = found.record, found.record.until_ns / 1e9 - now
        if left <= 0:
            said = (
                f"the record of {name} is over since {written(record.until_ns)}, and nobody gave a newer one: is it withheld?"
            )
        elif left < _SOON * (record.until_ns / 1e9 - found.since):
            said = f"the record of {name} ends at {written(record.until_ns)} and was not renewed: is a newer one withheld?"
        else:
            return ""
        with self._state.writing() as run:
            _event(run, record, now, "frozen", said)
        return said

    def events(self, name: Name) -> list[NameEvent]:
        """Lists what happened to a name, the oldest first."""
        with self._state.reading() as run:
            rows = run.execute("SELECT at, kind, sequence, said FROM name_events WHERE name=? ORDER BY id", (bytes(name),))
            return [NameEvent(at, kind, int.from_bytes(number, "big"), said) for at, kind, number, said in rows]

    def published_here(self, record: Record) -> bool:
        """Tells whether this home gave the record its number."""
        query = "SELECT 1 FROM name_events WHERE name=? AND kind='published' AND sequence=?"
        with self._state.reading() as run:
            return run.execute(query, (bytes(record.name), _number(record.sequence))).fetchone() is not None

    def equivocated(self, name: Name, sequence: int) -> bool:
        """Tells whether two different records with this sequence number were seen."""
        with self._state.reading() as run:
            return _equivocated(run, name, sequence)


def _judged(before: Record | None, record: Record) -> tuple[Verdict, str]:
    if before is None or record.sequence > before.sequence:
        return "new", record.value
    if record.sequence < before.sequence:
        return "rollback", f"{record.value}, but number {before.sequence} was seen already: {before.value}"
    if record.value != before.value:
        return "equivocation", f"{record.value}, but under the same number was seen: {before.value}"
    return ("renewed", f"until {written(record.until_ns)}") if record.rank > before.rank else ("same", "")


def _equivocated(run: Connection, name: Name, sequence: int) -> bool:
    query = "SELECT 1 FROM name_events WHERE name=? AND kind='equivocation' AND sequence=?"
    return run.execute(query, (bytes(name), _number(sequence))).fetchone() is not None


def _known(run: Connection, name: Name) -> Known | None:
    row = run.execute("SELECT record, since, key, lifetime FROM names WHERE name=?", (bytes(name),)).fetchone()
    if row is None:
        return None
    try:
        return Known(opened(row[0], name), row[1], row[2], row[3])
    except DataError as problem:
        from wherry.errors import StoreError

        raise StoreError(f"the record of {name} in state.db is damaged: {problem.message}") from problem


def _put(run: Connection, record: Record, now: float, key: str, lifetime_s: float) -> None:
    row = (bytes(record.name), _number(record.sequence), record.binary, now, key, lifetime_s)
    run.execute("INSERT OR REPLACE INTO names VALUES (?,?,?,?,?,?)", row)


def _event(run: Connection, record: Record, now: float, kind: str, said: str) -> None:
    """Writes it down once, however often the same is seen; the oldest of a name's go. Of renewals the last one stands.

    Of the number which counts now it is never forgotten that it was given twice, as the name would be believed again, nor that
    it was given here, as this home's own record would be taken for another's.
    """
    name, number = bytes(record.name), _number(record.sequence)
    if kind == "renewed":
        run.execute("DELETE FROM name_events WHERE name=? AND kind='renewed' AND sequence=?", (name, number))
    row = (name, now, kind, number, said, record.binary)
    run.execute("INSERT OR IGNORE INTO name_events (name, at, kind, sequence, said, record) VALUES (?,?,?,?,?,?)", row)
    old = "SELECT id FROM name_events WHERE name=? ORDER BY id DESC LIMIT -1 OFFSET ?"
    stays = (
        "SELECT MIN(id) FROM name_events WHERE name=? AND kind IN ('equivocation', 'published') "
        "AND sequence=(SELECT sequence FROM names WHERE name=?) GROUP BY kind"
    )
    run.execute(f"DELETE FROM name_events WHERE id IN ({old}) AND id NOT IN ({stays})", (name, NAME_EVENTS_MAX, name, name))


def _number(sequence: int) -> bytes:
    return sequence.to_bytes(8, "big")
