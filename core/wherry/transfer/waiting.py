"""The jobs that nobody works on, and which of them a source is asked for next (specs/0013 §3, specs/0025 §3). Pure."""

from __future__ import annotations

import math
from heapq import nsmallest
from typing import TYPE_CHECKING, Final, Generic, Literal

from wherry.limits import IDLE_S, POLICY_JOBS_MAX
from wherry.transfer.availability import Availability
from wherry.transfer.source import J

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from wherry.transfer.source import Source, Task

PARTS_S: Final = 1.0  # how long a job that nobody has whole waits, before those who have parts of it are asked
HOLDER_S: Final = 10.0  # and how long it is left to who has it whole and has others to give before
_SEEK_S: Final = 0.5
UNSHOWN_S: Final = IDLE_S  # how long nothing comes, before a seed is asked for what it does not show

Order = Literal["rarest", "sequential"]


class Waiting(Generic[J]):
    """Jobs in the order in which they were put, urgent ones first. For one thread."""

    __slots__ = (
        "_better", "_is_bad", "_lonely", "_lonely_at", "_may_ask", "_order", "_queue", "by_chance", "came_at", "haves",
        "sources",
    )  # fmt: skip

    def __init__(
        self,
        order: Order,
        may_ask: Callable[[Source, Task[J]], bool],
        better: Callable[[Source, Task[J]], bool],
        is_bad: Callable[[Source, Task[J]], bool],
    ) -> None:
        """``may_ask`` tells whether a source may be asked for a job, ``better`` that it is rather left to another one.

        ``is_bad``: that it sent it wrong too often.
        """
        self.haves: Availability[J] = Availability()
        self.by_chance = True  # nothing came yet: what is rarest does not matter, what is anything does
        self.came_at = float("-inf")  # when anything came last
        self._lonely: dict[Task[J], None] = {}  # see `_lonely_ones`; a set takes more where it is empty
        self._lonely_at = float("-inf")
        self._queue: list[Task[J]] = []  # short; an empty deque takes 600 bytes more, in each of a thousand transfers
        self._order = order
        self._may_ask = may_ask
        self._better = better
        self._is_bad = is_bad
        self.sources: Sequence[Source] = ()  # all that there are; set by whoever keeps them

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[Task[J]]:
        return iter(self._queue)

    @property
    def first(self) -> Task[J]:
        """The job to be done first; there must be one."""
        return self._queue[0]

    def put(self, task: Task[J]) -> None:
        """A job waits; an urgent one goes before all others, of those with a deadline the one with the nearest first."""
        if task.urgent and task.deadline < math.inf:
            before = sum(1 for other in self._queue if _goes_before(other, task))
            self._queue.insert(before, task)
        elif task.urgent:
            self._queue.insert(0, task)
        else:
            self._queue.append(task)
            self.haves.put(task)

    def remove(self, task: Task[J]) -> None:
        """It waits no more."""
        self._queue.remove(task)
        if not task.urgent:
            self.haves.take(task)

    def recut(self, cut: Callable[[J], Sequence[tuple[J, int, Sequence[tuple[int, int]]]]], rng: random.Random) -> int:
        """Puts smaller jobs in the place of those that are not urgent; gives how many more there are.

        ``cut`` gives the jobs that one consists of, each with its size and spans.
        """
        more = 0
        for task in [task for task in self._queue if not task.urgent]:
            parts = cut(task.job)
            if len(parts) > 1:
                more += len(parts) - 1
                self.remove(task)
                for job, size, spans in parts:
                    part = task.part(job, spans)
                    part.size, part.rank = size, rng.random()
                    self.put(part)
        return more

    def oldest(self, source: Source) -> Task[J] | None:
        """Gives the oldest job that ``source`` may be asked for."""
        for task in self._queue:
            if self._may_ask(source, task) and not self._better(source, task):
                return task
        return None

    def rarest(self, source: Source, now: float) -> Task[J] | None:
        """Gives what ``source`` should be asked for: what fewest have, and of that anything."""
        found = self.best(source, 1)
        return found[0] if found else self.otherwise(source, now)

    def best(self, source: Source, count: int) -> list[Task[J]]:
        """Gives up to ``count`` jobs that ``source`` should be asked for, the first one first."""
        found: list[Task[J]] = []
        for task in self._queue:
            if not task.urgent or len(found) == count:
                break
            if self._may_ask(source, task) and not self._better(source, task) and not self._has_whole(source, task):
                found.append(task)
        count -= len(found)
        if not count:
            return found
        waiting: Collection[Task[J]] = self.haves.offered(source) if source.mapped else self._queue
        if self._order == "sequential":
            return found + self._in_order(source, waiting, count)
        least = min(waiting, key=self._rank, default=None)
        if count == 1 and least is not None and not least.urgent and self._could(source, least):
            return [least]  # nearly always
        return found + nsmallest(
            count, [task for task in waiting if not task.urgent and self._could(source, task)], key=self._rank
        )

    def wanted_first(self, sources: Iterable[tuple[Source, int]]) -> list[Task[J]]:
        """Gives what each source, which has so many slots, would be asked for: each job once, the first one first."""
        found: dict[Task[J], None] = {}
        for source, slots in sources:
            if slots:
                found |= dict.fromkeys(self.best(source, min(POLICY_JOBS_MAX, 2 * slots)))
        if self._order == "sequential":
            return [task for task in self._queue if task in found]
        return sorted(found, key=lambda task: (not task.urgent, _due(task), self._rank(task)))

    def _has_whole(self, source: Source, task: Task[J]) -> bool:
        """Tells whether a manifest node is rather asked of another source: one that has the whole dataset is there."""
        return source.partial and any(
            other.answers and not other.partial and self._may_ask(other, task) for other in self.sources
        )

    def _in_order(self, source: Source, waiting: Collection[Task[J]], count: int) -> list[Task[J]]:
        found: list[Task[J]] = []
        for task in self._queue:
            if not task.urgent and task in waiting and self._could(source, task):
                found.append(task)
                if len(found) == count:
                    break
        return found

    def _could(self, source: Source, task: Task[J]) -> bool:
        return task.for_all or (self._may_ask(source, task) and not self._better(source, task))

    def _rank(self, task: Task[J]) -> tuple[int, float]:
        return (0 if self.by_chance else task.copies, task.rank)

    def otherwise(self, source: Source, now: float) -> Task[J] | None:
        """Gives a job that no map gives to anybody: ``source`` has a part of it, or is a seed that does not show it."""
        parts = self.haves.in_parts(source)
        if not parts and not self._shows_nothing(source, now):
            return None
        lonely = self._lonely_ones(now)
        for task in parts:
            if task in lonely and now - task.put > PARTS_S and not_lacking(source, task):
                return task
        return self._unshown(source, now, lonely) if self._shows_nothing(source, now) else None

    def _shows_nothing(self, source: Source, now: float) -> bool:
        """Tells whether a seed shows its dataset by pieces while nothing comes from anywhere."""
        return source.have is not None and source.have.choosy and now - self.came_at > UNSHOWN_S

    def _unshown(self, source: Source, now: float, lonely: Collection[Task[J]]) -> Task[J] | None:
        """Gives a job that nobody has but one who shows its dataset by pieces, and not this one.

        What it shows is a wish, no lock (specs/0025 §4.2): a get must not wait for ever for what it could ask for.
        """
        for task in self._queue:
            if (
                task in lonely
                and now - task.put > UNSHOWN_S
                and source.number not in task.absent
                and not self._is_bad(source, task)
            ):
                return task
        return None

    def _lonely_ones(self, now: float) -> Collection[Task[J]]:
        """Gives the jobs that nobody has whole who answers us and is free, or was lately. Sought twice a second at the most."""
        if now - self._lonely_at > _SEEK_S:
            answering = [source for source in self.sources if source.answers]
            free = [source for source in answering if not source.working]
            self._lonely_at = now
            self._lonely = {
                task: None
                for task in self._queue
                if not task.urgent and not self._had(task, answering if now - task.put <= HOLDER_S else free)
            }
        return self._lonely

    def _had(self, task: Task[J], sources: Sequence[Source]) -> bool:
        """Tells whether any of these has all of a job, as far as is known, and may be asked for it."""
        offered = self.haves.offered
        return any(
            (not source.mapped or (task.copies > 0 and task in offered(source))) and self._may_ask(source, task)
            for source in sources
        )

    def offers_any(self, source: Source) -> bool:
        """Tells whether a source can be asked for any of what waits, as far as its map tells."""
        return not source.mapped or bool(self.haves.offered(source)) or (bool(self._queue) and self._queue[0].urgent)


def not_lacking(source: Source, task: Task[J]) -> bool:
    """Tells whether a source that has a part has more than when it lacked this job."""
    return task.lacks.get(source.number, -1.0) < source.grew


def _due(task: Task[J]) -> float:
    """Gives the place of an urgent job among the others: what a walk waits for is due at once."""
    return task.deadline if task.urgent and task.deadline < math.inf else -math.inf


def _goes_before(other: Task[J], task: Task[J]) -> bool:
    """Tells whether a job that waits is to be asked for before ``task``, which has a deadline."""
    return other.urgent and _due(other) <= task.deadline
