"""Decides which source is asked for which job, and when to give up (specs/0013). Pure: events and times in, jobs out.

A job is a batch of wants. Each source works on a few jobs at a time, takes the oldest job that it has not failed, and rests
after a failure: exponential back-off with full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015). A source that
has given nothing yet, or nothing since its last failure, has one job at a time: each job holds a buffer of the process's
budget, and sources that stall must not hold all of them.

Where several sources are there, a policy may choose who gets what (specs/0017): it sees a snapshot, and is obeyed as far as
all of the above allows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, Literal, NamedTuple, TypeVar

from wherry.abc.policy import JobView, PeerView, SwarmView
from wherry.dial import is_near
from wherry.limits import FIRST_SOURCE_S, IDLE_S, POLICY_JOBS_MAX, WAIT_S
from wherry.transfer.standing import Standing

if TYPE_CHECKING:
    import random

    from wherry.transfer.choice import Choice

_BACKOFF_FIRST_S: Final = 0.2
_BACKOFF_MAX_S: Final = 8.0
_TRIES: Final = 8  # at the least, within the time that a source is waited for
_BAD_MAX: Final = 3  # times a source that never sent anything right may send the same job wrong
_BAD_MAX_OF_USEFUL: Final = 10  # and one that did: a line may flip bits now and then
_PLAN_S: Final = 0.25  # how long what a policy said holds, at most: rates change, and it may wait for jobs to grow old
_SPARE_JOBS: Final = 4  # shown to a policy besides two for each free slot
_PARALLEL: Final = 4  # jobs at a time of a source that does not say

J = TypeVar("J")


@dataclass(slots=True, eq=False)
class Source:
    """What the scheduler knows of one source."""

    address: str
    alive: bool = False  # connected
    reached: bool = False  # was connected at some time
    denied: bool = False  # must not be asked again
    failures: int = 0  # one after the other
    rest_until: float = 0.0
    since: float = 0.0  # when it was first asked for, or when it failed first since it was last of use
    proven: bool = False  # was of use since its last failure
    working: int = 0  # jobs that it is asked for now
    reason: str = "was not asked yet"  # why it is of no use now
    parallel: int = _PARALLEL  # jobs that it takes at a time
    jobs: int = 0  # that it was given
    blocks: int = 0
    bytes: int = 0
    errors: int = 0
    plain: bool = False  # it holds plain files, and can have no manifest
    local: bool = False  # on this machine or on a private network, as far as its address tells
    standing: Standing = field(default_factory=Standing)


@dataclass(slots=True, eq=False)
class Task(Generic[J]):
    """A job and what the sources said of it."""

    job: J
    urgent: bool = False
    absent: set[int] = field(default_factory=set)  # id() of the sources that do not have it
    bad: dict[int, int] = field(default_factory=dict)  # id() of a source -> times it sent it wrong
    failed: dict[int, int] = field(default_factory=dict)  # id() of a source -> times it failed with it, wrong ones included
    size: int = 0  # bytes of it, as far as they are known
    put: float = 0.0  # when it was put
    asked: float = 0.0  # when a source was asked for it last
    first: float = 0.0  # when that source's first bytes of it were there; 0.0: not yet
    got: int = 0  # bytes that came since

    def part(self, job: J) -> Task[J]:
        """Gives a task for a part of the job; what the sources said holds for it too."""
        return Task(job, self.urgent, set(self.absent), dict(self.bad), dict(self.failed), self.size, self.put)

    @property
    def for_all(self) -> bool:
        """Whether no source has said or shown anything against it."""
        return not self.absent and not self.failed


class Verdict(NamedTuple, Generic[J]):
    """Why the transfer cannot go on, and the job that shows it.

    "absent": every source there is said that it does not have the job. "corrupt": those that have it send it wrong.
    "denied": all sources refuse us. "unreached": no source could be reached at all. "lost": sources were there, and none
    is of use for too long.
    """

    kind: Literal["absent", "corrupt", "denied", "unreached", "lost"]
    job: J


class Scheduler(Generic[J]):
    """Jobs waiting and sources to ask. Times are seconds of one steady clock."""

    def __init__(
        self,
        addresses: list[str],
        *,
        now: float,
        rng: random.Random,
        wait_s: float = WAIT_S,
        choice: Choice | None = None,
    ) -> None:
        """``choice`` is asked who gets which job where several sources are there; None: the oldest job, whoever is free."""
        self.sources: list[Source] = []
        self.more = True  # whether more jobs will be put; whoever puts them says so
        self._queue: deque[Task[J]] = deque()
        self._rng = rng
        self._wait_s = wait_s
        self._choice = choice
        self._plan: dict[int, list[Task[J]]] = {}  # id() of each source that had slots -> what it was given, and did not take
        self._planned_at = 0.0
        self._chosen: set[int] = set()  # id() of the sources that the last plan gave a job; emptied by any failure
        for address in addresses:
            self.add(address, now)

    def add(self, address: str, now: float) -> Source:
        """Takes a source that was found later."""
        self.sources.append(Source(address, since=now, local=is_near(address)))
        return self.sources[-1]

    @property
    def waiting(self) -> int:
        """Jobs that nobody works on."""
        return len(self._queue)

    def put(self, job: J, *, urgent: bool = False, size: int = 0, now: float = 0.0) -> None:
        """Takes a new job of ``size`` bytes; an urgent one goes before all others."""
        self._requeue(Task(job, urgent, size=size, put=now))

    def _requeue(self, task: Task[J]) -> None:
        self._plan.clear()
        if task.urgent:
            self._queue.appendleft(task)
        else:
            self._queue.append(task)

    def take(self, source: Source, now: float) -> Task[J] | None:
        """Gives the next job for ``source``, if it may be asked now; say `done` when it is over, whatever came of it."""
        if not self._queue or not self._free(source, now):
            return None
        source.parallel = max(source.parallel, source.working + 1)  # whoever asks has room for one
        task = self._by_policy(source, now) if self._may_choose() else self._oldest(source)
        if task is not None:
            source.working += 1
            source.jobs += 1
            task.asked, task.first, task.got = now, 0.0, 0
        return task

    def _free(self, source: Source, now: float) -> bool:
        if not source.alive or source.denied or now < source.rest_until:
            return False
        return source.proven or not source.working

    def _oldest(self, source: Source) -> Task[J] | None:
        for place, task in enumerate(self._queue):
            if self._may_ask(source, task) and not self._better(source, task):
                del self._queue[place]
                return task
        return None

    # What the policy says

    def _may_choose(self) -> bool:
        """Whether there is anything to choose, and somebody to do it."""
        if self._choice is None or self._choice.out:
            return False
        there = 0
        for source in self.sources:
            there += source.alive and not source.denied
        return there > 1

    def _by_policy(self, source: Source, now: float) -> Task[J] | None:
        """Gives what is planned for ``source``; plans if something happened since, or it had no slots then.

        A source that alone is free, and was chosen a moment ago, goes on without a question: nearly every job is given so.
        """
        if id(source) not in self._plan or now - self._planned_at > _PLAN_S:
            if self._goes_on(source, now):
                return self._queue.popleft()
            if not self._replan(now):
                return self._oldest(source)
        given = self._plan.get(id(source))
        if not given:
            return None
        task = given.pop(0)
        self._queue.remove(task)
        return task

    def _goes_on(self, source: Source, now: float) -> bool:
        if not self.more or id(source) not in self._chosen or now - self._planned_at > _PLAN_S:
            return False
        if not self._queue[0].for_all:
            return False
        return not any(other is not source and self._slots(other, now) for other in self.sources)

    def _replan(self, now: float) -> bool:
        """Asks the policy. False: it is left out."""
        there = [source for source in self.sources if source.alive and not source.denied]
        slots = [self._slots(source, now) for source in there]
        best = max(source.standing.rate for source in there)
        peers = [
            PeerView(
                source.address, source.local, free, source.working, source.standing.rate, source.standing.latency_s,
                source.standing.score(now, best), source.bytes, source.jobs, source.failures, source.standing.rejected,
            )
            for source, free in zip(there, slots, strict=True)
        ]  # fmt: skip
        everybody = frozenset(range(len(there)))
        # While more will come, no policy needs many more jobs than there are slots: most plans are for one.
        most = min(POLICY_JOBS_MAX, 2 * sum(slots) + _SPARE_JOBS) if self.more else POLICY_JOBS_MAX
        tasks: list[Task[J]] = []
        jobs: list[JobView] = []
        for task in self._queue:
            able = everybody if task.for_all else self._able(task, there)
            if able is everybody or any(slots[peer] for peer in able):
                tasks.append(task)
                jobs.append(JobView(task.size, task.urgent, now - task.put, able))
                if len(jobs) == most:
                    break
        pairs = self._choice.plan(SwarmView(now, peers, jobs, self.more)) if self._choice is not None else None
        if pairs is None:
            return False
        self._planned_at = now
        self._plan = {id(source): [] for source, free in zip(there, slots, strict=True) if free}
        for job, peer in sorted(pairs):
            self._plan[id(there[peer])].append(tasks[job])
        for key, given in self._plan.items():  # one that gets only what others do not have may be spared otherwise
            (self._chosen.add if any(task.for_all for task in given) else self._chosen.discard)(key)
        return True

    def _slots(self, source: Source, now: float) -> int:
        """Jobs that a source may be given now."""
        if not self._free(source, now):
            return 0
        return max(0, source.parallel - source.working) if source.proven else 1

    def _able(self, task: Task[J], there: list[Source]) -> frozenset[int]:
        """Which sources a policy may give a job to.

        One that failed with it is left out while another is there that is not failing and did not fail with it as often:
        a policy must not be able to ask one source for ever.
        """
        return frozenset(
            place
            for place, source in enumerate(there)
            if self._may_ask(source, task) and not self._other(source, task, task.failed)
        )

    def _may_ask(self, source: Source, task: Task[J]) -> bool:
        return id(source) not in task.absent and not self._is_bad(source, task)

    def _is_bad(self, source: Source, task: Task[J]) -> bool:
        return task.bad.get(id(source), 0) >= (_BAD_MAX_OF_USEFUL if source.blocks else _BAD_MAX)

    def _better(self, source: Source, task: Task[J]) -> bool:
        """Whether a job that ``source`` sent wrong is left to another, which is there and did not, or not as often."""
        return self._other(source, task, task.bad)

    def _other(self, source: Source, task: Task[J], faults: dict[int, int]) -> bool:
        """Whether another source that may have the job is there, not failing, and has fewer of these faults."""
        own = faults.get(id(source), 0)
        return own > 0 and any(
            other.alive and not other.failures and faults.get(id(other), 0) < own and self._may_ask(other, task)
            for other in self.sources
        )

    # What sources did

    def connected(self, source: Source, now: float, parallel: int = _PARALLEL) -> None:
        """A connection was made, for ``parallel`` jobs at a time."""
        self._plan.clear()
        self._chosen.clear()
        source.parallel = parallel
        if not source.reached:
            source.failures, source.since = 0, now
        source.alive = source.reached = True
        source.reason = ""

    def done(self, source: Source, task: Task[J] | None = None, now: float = 0.0) -> None:
        """A job that the source took is over: done, or handed back. With ``task``, what it gave counts for its standing."""
        source.working -= 1
        self._plan.clear()
        if task is not None and task.got:
            source.standing.answered(now, task.got, now - task.asked, task.first - task.asked)

    def succeeded(self, source: Source, now: float, blocks: int, count: int, task: Task[J] | None = None) -> None:
        """Blocks arrived, ``count`` bytes of them, of ``task``."""
        if task is not None:
            task.first = task.first or now
            task.got += count
        if not source.proven:
            self._plan.clear()
        source.blocks += blocks
        source.bytes += count
        source.failures = 0
        source.proven = True
        source.reason = ""
        source.since = now

    def gone(self, source: Source, now: float, reason: str, *, for_good: bool = False) -> float:
        """A connection failed or could not be made; gives the seconds to rest before the next try."""
        self._plan.clear()
        source.alive = False
        source.denied = source.denied or for_good
        return self._rest(source, now, reason)

    def failed(self, task: Task[J], source: Source, now: float, reason: str, *, rejected: int = 0) -> float:
        """A request failed, or brought ``rejected`` blocks, while the source stays; its job goes back.

        Gives the seconds to rest.
        """
        if rejected:
            source.standing.wrong(now, rejected)
        task.failed[id(source)] = task.failed.get(id(source), 0) + 1
        self._requeue(task)
        return self._rest(source, now, reason)

    def absent(self, task: Task[J], source: Source) -> None:
        """The source does not have (what is left of) the job."""
        task.absent.add(id(source))
        source.reason = source.reason or "does not have all of it"
        self._requeue(task)

    def bad(self, task: Task[J], source: Source, now: float, reason: str, *, rejected: int = 0) -> float:
        """The source sent bytes that did not verify, ``rejected`` blocks, and nothing else. Gives the seconds to rest."""
        source.standing.wrong(now, rejected)
        task.bad[id(source)] = task.bad.get(id(source), 0) + 1
        return self.failed(task, source, now, reason)

    def again(self, task: Task[J]) -> None:
        """Part of the job was left out of an answer, without fault."""
        self._requeue(task)

    def _rest(self, source: Source, now: float, reason: str) -> float:
        if source.reached and not source.failures:
            source.since = now
        self._chosen.clear()
        source.standing.failed(now)
        source.errors += 1
        source.failures += 1
        source.proven = False
        source.reason = reason
        most = max(_BACKOFF_FIRST_S, min(_BACKOFF_MAX_S, self._wait_s / _TRIES))
        limit = min(most, _BACKOFF_FIRST_S * 2 ** min(source.failures - 1, 10))
        seconds = self._rng.uniform(limit / 4, limit)
        source.rest_until = now + seconds
        return seconds

    # When to give up

    def verdict(self, now: float) -> Verdict[J] | None:
        """Tells why the transfer cannot go on; None while it can. Call it from time to time, and when a job goes back."""
        for task in self._queue:
            able = [source for source in self.sources if self._may_ask(source, task) and not source.denied]
            if any(self._hopeful(source, now) for source in able):
                continue
            return Verdict(self._kind(task, able), task.job)
        return None

    def _kind(self, task: Task[J], able: list[Source]) -> Literal["absent", "corrupt", "denied", "unreached", "lost"]:
        if self.sources and all(source.denied for source in self.sources):
            return "denied"
        if not any(source.reached for source in self.sources):
            return "unreached"
        if any(self._is_bad(source, task) for source in self.sources):
            return "corrupt"
        if any(source.reached for source in able):
            return "lost"
        return "absent" if task.absent else "unreached"

    def _hopeful(self, source: Source, now: float) -> bool:
        """Whether to go on waiting for a source: it is there and not failing, or has not been of no use for too long."""
        if not source.reached:
            return now - source.since < min(FIRST_SOURCE_S, self._wait_s)
        if source.alive and not source.failures:
            return True
        asked = source.alive and source.working  # it is back, perhaps: its answer is waited for
        return now - source.since < self._wait_s + (IDLE_S if asked else 0.0)

    def reasons(self) -> str:
        """Lists what is wrong with each source, for people."""
        return "; ".join(f"{source.address}: {source.reason or 'does not have it'}" for source in self.sources)
