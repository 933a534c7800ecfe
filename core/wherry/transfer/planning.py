"""What the policy says about who gets which job next, as far as it holds (specs/0013 §3, specs/0017). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic

from wherry.abc.policy import JobView, SwarmView
from wherry.limits import POLICY_JOBS_MAX
from wherry.transfer.source import J

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wherry.transfer.choice import Choice
    from wherry.transfer.source import Source, Task
    from wherry.transfer.waiting import Waiting

_PLAN_S: Final = 0.25  # how long what a policy said holds, at most: rates change, and it may wait for jobs to grow old
_SPARE_JOBS: Final = 4  # shown to a policy besides two for each free slot

_NOBODY: Final[frozenset[int]] = frozenset()  # shared: each empty one takes 216 bytes


class Planning(Generic[J]):
    """A policy's last plan, and what goes without asking it. For one thread."""

    __slots__ = ("_able", "_choice", "_chosen", "_plan", "_planned_at", "_slots", "_sources", "_waiting")

    def __init__(
        self,
        choice: Choice | None,
        sources: Sequence[Source],
        waiting: Waiting[J],
        slots: Callable[[Source, float], int],
        able: Callable[[Task[J], list[Source]], frozenset[int]],
    ) -> None:
        """``slots`` tells how many jobs a source may be given now, ``able`` which of some sources may be given a job."""
        self._choice = choice
        self._sources = sources
        self._waiting = waiting
        self._slots = slots
        self._able = able
        self._plan: dict[int, list[Task[J]]] = {}  # number of each source that had slots -> what it was given, and did not take
        self._planned_at = 0.0
        self._chosen = _NOBODY  # numbers of the sources that the last plan gave a job; emptied by any failure

    def clear(self) -> None:
        """Something changed: the plan holds no more."""
        self._plan.clear()

    def failed(self) -> None:
        """A source failed, or came: whoever was chosen lately is to be chosen again."""
        self._chosen = _NOBODY

    def next(self, source: Source, now: float, *, more: bool) -> Task[J] | None:
        """Gives the job that ``source`` gets, which waits on until it is taken out; ``more`` will come."""
        return self._by_policy(source, now, more=more) if self._may_choose() else self._plainly(source, now)

    def _plainly(self, source: Source, now: float) -> Task[J] | None:
        """Gives the job for ``source`` where no policy says which."""
        return self._waiting.rarest(source, now) if self._waiting.haves.any else self._waiting.oldest(source)

    def _may_choose(self) -> bool:
        """Whether there is anything to choose, and somebody to do it."""
        if self._choice is None or self._choice.out:
            return False
        there = 0
        for source in self._sources:
            there += source.alive and not source.denied
        return there > 1

    def _by_policy(self, source: Source, now: float, *, more: bool) -> Task[J] | None:
        """Gives what is planned for ``source``; plans if something happened since, or it had no slots then.

        A source that alone is free, and was chosen a moment ago, goes on without a question: nearly every job is given so.
        """
        if source.number not in self._plan or now - self._planned_at > _PLAN_S:
            if self._waiting.haves.any:
                if self._chosen_lately(source, now, more=more):
                    return self._waiting.rarest(source, now)
            elif self._goes_on(source, now, more=more):
                return self._waiting.first
            if not self._replan(now, more=more):
                return self._plainly(source, now)
        given = self._plan.get(source.number)
        if given:
            return given.pop(0)
        other = self._waiting.otherwise(source, now) if self._waiting.haves.any else None
        return None if any(other in planned for planned in self._plan.values()) else other

    def _chosen_lately(self, source: Source, now: float, *, more: bool) -> bool:
        return more and source.number in self._chosen and now - self._planned_at <= _PLAN_S

    def _goes_on(self, source: Source, now: float, *, more: bool) -> bool:
        if not self._chosen_lately(source, now, more=more) or not self._waiting.first.for_all:
            return False
        return not any(other is not source and self._slots(other, now) for other in self._sources)

    def _replan(self, now: float, *, more: bool) -> bool:
        """Asks the policy. False: it is left out."""
        there = [source for source in self._sources if source.alive and not source.denied]
        slots = [self._slots(source, now) for source in there]
        best = max(source.standing.rate for source in there)
        peers = [source.view(now, free, best) for source, free in zip(there, slots, strict=True)]
        everybody = frozenset(range(len(there)))
        # While more will come, no policy needs many more jobs than there are slots: most plans are for one.
        most = min(POLICY_JOBS_MAX, 2 * sum(slots) + _SPARE_JOBS) if more else POLICY_JOBS_MAX
        tasks: list[Task[J]] = []
        jobs: list[JobView] = []
        for task in self._waiting.wanted_first(zip(there, slots, strict=True)) if self._waiting.haves.any else self._waiting:
            able = everybody if task.for_all and not self._waiting.haves.any else self._able(task, there)
            if able is everybody or any(slots[peer] for peer in able):
                tasks.append(task)
                jobs.append(JobView(task.size, task.urgent, now - task.put, able))
                if len(jobs) == most:
                    break
        pairs = self._choice.plan(SwarmView(now, peers, jobs, more)) if self._choice is not None else None
        if pairs is None:
            return False
        self._planned_at = now
        self._plan = {source.number: [] for source, free in zip(there, slots, strict=True) if free}
        for job, peer in sorted(pairs):
            self._plan[there[peer].number].append(tasks[job])
        for key, given in self._plan.items():  # one that gets only what others do not have may be spared otherwise
            self._chosen = self._chosen | {key} if any(task.for_all for task in given) else self._chosen - {key}
        return True
