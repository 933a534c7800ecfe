"""Which transfers run, and in which order the others wait (specs/0027 §4). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.daemon import retry
from wherry.daemon.record import CLASSES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from wherry.daemon.record import Record

_RANK: Final = {name: rank for rank, name in enumerate(CLASSES)}


def place(record: Record) -> tuple[int, int, int]:
    """Gives the sort key of the queue: by class, by priority within it, then by age."""
    return -_RANK[record.asked.traffic_class], -record.asked.priority, record.number


def waiting(records: Iterable[Record]) -> list[Record]:
    """Gives those that are queued, in the order in which they go."""
    return sorted((record for record in records if record.state == "queued"), key=place)


def due(record: Record, now: float) -> bool:
    """Tells whether one that is queued may start by the clock; ``now`` in seconds since 1970.

    A moment further ahead than the longest pause was set by a clock that has been put back since, and means nothing.
    """
    return record.retry_at is None or not 0 < record.retry_at - now <= retry.PAUSE_S_MAX


def to_start(records: Iterable[Record], busy: Collection[int], most: int, now: float) -> list[Record]:
    """Gives those that start now, the first one first.

    ``busy`` are the numbers of those that hold a place: running, or still ending. At most ``most`` do. One that waits for
    its next try lets the others by, and none that runs is stopped for one that came later.
    """
    free = most - len(busy)
    if free <= 0:
        return []
    ready = [one for one in waiting(records) if one.number not in busy and due(one, now)]
    return ready[:free]


def next_try(records: Iterable[Record], now: float) -> float | None:
    """Gives the seconds until the next one that waits for its next try may go; None if none does."""
    times = [one.retry_at for one in records if one.state == "queued" and one.retry_at is not None and not due(one, now)]
    return min(times) - now if times else None
