"""Jobs under way, and which of them a second source should be asked for (specs/0025 §3). Pure.

Near the end of a transfer the last jobs lie with whoever took them, and one slow source holds up all (endgame, BEP 3). In the
middle a source may fall silent. Either way a source that has nothing to do is asked for the same job; the first answer counts,
and the other is cancelled. "The Tail at Scale" (Dean and Barroso, 2013) calls this hedged requests. What it wastes is bounded.

In the middle nobody waits for one job, unless they are read in order: while anything comes it may lie where it is, but not for
ever. In a swarm answers take long because a source has many to give, and to ask another for the same makes all take longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from wherry.units import MiB

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.transfer.source import Source, Task

J = TypeVar("J")

LATE: Final = 3.0  # times what a job usually takes its source: then it is a straggler
LATE_MIN_S: Final = 0.5  # and not before: figures of a moment are no figures
SILENT_S: Final = 10.0  # in the middle, a source that gives nothing of anything for so long is late with all that it has
WORTH: Final = 1.5  # the second must be expected to be so many times faster than what is left of the first
WASTE_SHARE: Final = 0.02  # of all bytes that came, those that may have come twice ...
WASTE_MIN: Final = 4 * MiB  # ... or so many: a small transfer has an end, too
SILENT: Final = 4 * MiB  # and so many more where nobody gives anything of a job: it is likely that it never comes twice
DEAD_S: Final = 1.5  # after so long without a byte, who was asked for a job hardly brings it any more
OWED_S: Final = 2.0  # after a source was told to leave a job, it may come all the same: it was on its way
TWICE: Final = 2  # sources that one job may be asked of, unless all of them are late: they may have died together


@dataclass(slots=True, eq=False)
class Flight:
    """One source that is asked for one job, and what it gave of it so far."""

    source: Source
    asked: float  # when
    first: float = 0.0  # when its first bytes were there; 0.0: not yet
    got: int = 0  # bytes
    beaten: bool = False  # another source brought the job, and this one was told to leave it


class Flights(Generic[J]):
    """What is under way. For one thread."""

    __slots__ = ("_flights", "_moved_at", "_owed", "_patient", "_total", "wasted")

    def __init__(self, *, patient: bool = False) -> None:
        """``patient``: jobs are done in any order, so that none is waited for before the end."""
        self._patient = patient
        self._total, self._moved_at = 0, float("-inf")  # the bytes that came so far, and when there were more of them
        self._flights: dict[Task[J], list[Flight]] = {}
        self.wasted = 0  # bytes that came twice
        self._owed: list[tuple[float, int]] = []  # until when what a source was told to leave may come, and its bytes

    def __len__(self) -> int:
        return len(self._flights)

    def begin(self, task: Task[J], source: Source, now: float) -> None:
        """A source is asked for a job."""
        self._flights.setdefault(task, []).append(Flight(source, now))

    def of(self, task: Task[J], source: Source) -> Flight | None:
        """Finds the flight of a job with a source."""
        for flight in self._flights.get(task, ()):
            if flight.source is source:
                return flight
        return None

    def end(self, task: Task[J], source: Source, now: float) -> None:
        """It is not asked any more; one that was told to leave the job may have sent it already."""
        flight = self.of(task, source)
        if flight is None:
            return
        flights = self._flights[task]
        flights.remove(flight)
        if not flights:
            del self._flights[task]
        if flight.beaten and flight.got < task.size:
            self._owed.append((now + OWED_S, task.size - flight.got))

    def came_twice(self, count: int) -> None:
        """Bytes came that another source had given already, or that nobody waited for any more."""
        self.wasted += count
        while count > 0 and self._owed:
            until, size = self._owed.pop(0)
            if size > count:
                self._owed.insert(0, (until, size - count))
            count -= size

    def others(self, task: Task[J], source: Source) -> list[Source]:
        """Gives the other sources that are asked for the same job."""
        return [flight.source for flight in self._flights.get(task, ()) if flight.source is not source]

    def beaten(self, task: Task[J], source: Source, now: float) -> bool:
        """Another source brought a job; tells whether this one was late with it, and gave nothing of it."""
        flight = self.of(task, source)
        if flight is None:
            return False
        flight.beaten = True
        return not flight.got and _is_late(flight, now, _takes(task, source))

    def late(
        self, source: Source, now: float, may_ask: Callable[[Task[J]], bool], *, total: int, ending: bool
    ) -> Task[J] | None:
        """Gives the job that ``source``, which has nothing else to do, should be asked for as well; None: there is none.

        ``total`` are the bytes that came so far; ``ending`` says that no job waits that it could do. A job of which nobody
        gives anything will hardly come twice, so there is more room for it, and it may be asked of more than two.
        """
        while self._owed and self._owed[0][0] < now:
            self._owed.pop(0)
        if total != self._total:
            self._total, self._moved_at = total, now
        patient = self._patient and not ending and now - self._moved_at < DEAD_S
        room = max(WASTE_MIN, WASTE_SHARE * total)
        taken = self.wasted + sum([size for _, size in self._owed])
        ahead, at_worst = self._ahead(now)
        best, longest = None, 0.0
        for task, flights in self._flights.items():
            if any(flight.source is source for flight in flights) or not may_ask(task):
                continue
            if patient and not task.urgent and not _is_silent(flights[0], task, now):
                continue
            silent = all(not flight.got and _is_late(flight, now, _takes(task, flight.source)) for flight in flights[:TWICE])
            if task.size + taken + max(0 if silent else ahead, at_worst - SILENT) > room:
                continue
            if len(flights) >= TWICE and not (silent and now - flights[-1].asked > LATE_MIN_S):
                continue
            takes = _takes(task, source)
            left = self._left(flights[0], now, _takes(task, flights[0].source, takes), ending=ending)
            if left > longest and (silent or left > WORTH * takes):  # what is known of this one may come of a few small blocks
                best, longest = task, left
        return best

    def _ahead(self, now: float) -> tuple[int, int]:
        """Gives the bytes that will come twice, and those that might at the worst.

        All who are asked will answer but for the dead, who gave nothing so far; at the worst one of the dead is back for each.
        """
        ahead = worst = 0
        for task, flights in self._flights.items():
            if len(flights) > 1:
                alive = sum([flight.got > 0 or flight.source.proven or now - flight.asked < DEAD_S for flight in flights])
                ahead += task.size * max(0, alive - 1)
                worst += task.size * max(1, alive - 1)
        return ahead, worst

    def _left(self, flight: Flight, now: float, usual: float, *, ending: bool) -> float:
        """Gives the seconds that a job is expected to take on, or 0.0 where nothing is wrong with that."""
        elapsed = now - flight.asked
        if _is_late(flight, now, usual):
            return elapsed  # it says nothing of itself: as long again
        return max(usual - elapsed, 0.0) if ending else 0.0


def _is_late(flight: Flight, now: float, usual: float) -> bool:
    return now - flight.asked > max(LATE_MIN_S, LATE * usual)


def _is_silent(flight: Flight, task: Task[J], now: float) -> bool:
    """Tells whether a source has given nothing at all for long, of this job or another."""
    source = flight.source
    return now - max(flight.asked, source.meter.at) > max(SILENT_S, LATE * _takes(task, source))


def _takes(task: Task[J], source: Source, unknown: float = LATE_MIN_S) -> float:
    """Gives the seconds from asking a source for a job until it is there, by what it gave lately; ``unknown``, if nothing."""
    return task.size / source.standing.rate if source.standing.rate > 0.0 else unknown
