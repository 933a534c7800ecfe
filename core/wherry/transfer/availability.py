"""Which source offers which of the jobs that wait, and how many copies of each there are (specs/0025 §3). Pure.

Only sources that say what they have are looked at here; any other may be asked for anything. Kept up to date by differences:
a have-map that grows touches the jobs that lie in what it gained, and a job that comes or goes touches each map once.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from wherry.transfer.source import Source, Task

J = TypeVar("J")


class Availability(Generic[J]):
    """Waiting jobs and the sources that offer them. For one thread."""

    __slots__ = ("_anywhere", "_longest", "_offers", "_parts", "_places", "_sources")

    def __init__(self) -> None:
        self._offers: dict[int, dict[Task[J], None]] = {}  # number of a source with a map -> what it offers, of what waits
        self._parts: dict[int, dict[Task[J], None]] = {}  # the same of jobs of which it has a part only
        self._sources: dict[int, Source] = {}
        self._places: list[tuple[int, int, Task[J]]] = []  # of waiting jobs: where each begins, a number, the job
        self._anywhere: dict[Task[J], None] = {}  # waiting jobs without a place
        self._longest = 0  # of their spans, from the first byte to the last, ever

    @property
    def any(self) -> bool:
        """Whether any source says what it has."""
        return bool(self._sources)

    def offered(self, source: Source) -> Collection[Task[J]]:
        """Gives the waiting jobs that a source with a map has, or will have soon."""
        return self._offers.get(source.number, ())

    def in_parts(self, source: Source) -> Collection[Task[J]]:
        """Gives the waiting jobs of which a source has a part only. Kept, not sought: a swarm asks after each answer."""
        return self._parts.get(source.number, ())

    # Jobs

    def put(self, task: Task[J]) -> None:
        """A job waits. One whose place is not known is offered by all: each has to be asked."""
        task.copies = 0
        if not task.spans:
            self._anywhere[task] = None
            for mine in self._offers.values():
                mine[task] = None
            return
        begin, end = task.spans[0][0], task.spans[-1][1]
        self._longest = max(self._longest, end - begin)
        insort(self._places, (begin, id(task), task))
        for key, source in self._sources.items():
            if offers(source, task):
                self._offers[key][task] = None
                task.copies += 1
            elif source.partial and touches(source, task.spans):
                self._parts[key][task] = None

    def take(self, task: Task[J]) -> None:
        """A job waits no more."""
        for offered in self._offers.values():
            offered.pop(task, None)
        for parts in self._parts.values():
            parts.pop(task, None)
        if not task.spans:
            self._anywhere.pop(task, None)
            return
        place = bisect_left(self._places, (task.spans[0][0], id(task)))
        if place < len(self._places) and self._places[place][2] is task:
            del self._places[place]

    # Sources

    def learn(self, source: Source, gained: Iterable[tuple[int, int]] | None) -> None:
        """The map of a source changed: it gained some, or, where that is None, it may be another one altogether."""
        key = source.number
        if not source.mapped:
            self.forget(source)
            return
        if gained is None or key not in self._offers:
            self.forget(source)
            self._sources[key], self._offers[key], self._parts[key] = source, dict(self._anywhere), {}
            near: Iterable[Task[J]] = [task for _, _, task in self._places if task.spans[0][0] == task.spans[-1][1]]  # hollow
            if source.have is not None:
                near = [*near, *self._near(source.have.spans)]
        else:
            near = self._near(gained)
        mine, parts = self._offers[key], self._parts[key]
        for task in near:
            if task in mine:
                continue
            if offers(source, task):
                mine[task] = None
                task.copies += 1
                parts.pop(task, None)
            elif source.partial and touches(source, task.spans):
                parts[task] = None

    def forget(self, source: Source) -> None:
        """The source is gone, or may be asked for anything."""
        self._sources.pop(source.number, None)
        self._parts.pop(source.number, None)
        for task in self._offers.pop(source.number, ()):
            task.copies -= bool(task.spans)

    def _near(self, gained: Iterable[tuple[int, int]]) -> Iterable[Task[J]]:
        """Gives the jobs that any of the stretches touches; some of them twice."""
        for start, end in gained:
            for at in range(bisect_left(self._places, (start - self._longest,)), len(self._places)):
                begin, _, task = self._places[at]
                if begin >= end:
                    break
                if task.spans[-1][1] > start:
                    yield task


def offers(source: Source, task: Task[J]) -> bool:
    """Tells whether a source with a map has a job: all of it, or, where it is choosy, wants to be asked for it."""
    have = source.have
    if have is None or (have.complete and not have.choosy) or not task.spans:
        return True
    if have.choosy:
        begin = task.spans[0][0]
        return have.spans.covers(begin, begin + 1)
    return all(have.spans.covers(start, end) for start, end in task.spans)


def touches(source: Source, spans: Sequence[tuple[int, int]]) -> bool:
    """Tells whether a source has the beginning or the end of any of these spans: who has a job in part may give that."""
    have = source.have
    return have is not None and any(have.spans.covers(a, a + 1) or have.spans.covers(b - 1, b) for a, b in spans)
