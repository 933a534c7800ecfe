"""Decides which source is asked for which job, and when to give up (specs/0013). Pure: events and times in, jobs out.

A job is a batch of wants. Each source works on a few jobs at a time, takes the oldest job that it has not failed, and rests
after a failure: exponential back-off with full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015). A source that
has given nothing yet, or nothing since its last failure, has one job at a time: each job holds a buffer of the process's
budget, and sources that stall must not hold all of them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, Literal, NamedTuple, TypeVar

from wherry.limits import FIRST_SOURCE_S, IDLE_S, WAIT_S

if TYPE_CHECKING:
    import random

_BACKOFF_FIRST_S: Final = 0.2
_BACKOFF_MAX_S: Final = 8.0
_TRIES: Final = 8  # at the least, within the time that a source is waited for
_BAD_MAX: Final = 3  # times a source that never sent anything right may send the same job wrong
_BAD_MAX_OF_USEFUL: Final = 10  # and one that did: a line may flip bits now and then

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
    blocks: int = 0
    bytes: int = 0
    errors: int = 0


@dataclass(slots=True, eq=False)
class Task(Generic[J]):
    """A job and what the sources said of it."""

    job: J
    urgent: bool = False
    absent: set[int] = field(default_factory=set)  # id() of the sources that do not have it
    bad: dict[int, int] = field(default_factory=dict)  # id() of a source -> times it sent it wrong

    def part(self, job: J) -> Task[J]:
        """Gives a task for a part of the job; what the sources said holds for it too."""
        return Task(job, self.urgent, set(self.absent), dict(self.bad))


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

    def __init__(self, addresses: list[str], *, now: float, rng: random.Random, wait_s: float = WAIT_S) -> None:
        self.sources = [Source(address, since=now) for address in addresses]
        self._queue: deque[Task[J]] = deque()
        self._rng = rng
        self._wait_s = wait_s

    @property
    def waiting(self) -> int:
        """Jobs that nobody works on."""
        return len(self._queue)

    def put(self, job: J, *, urgent: bool = False) -> None:
        """Takes a new job; an urgent one goes before all others."""
        self._requeue(Task(job, urgent))

    def _requeue(self, task: Task[J]) -> None:
        if task.urgent:
            self._queue.appendleft(task)
        else:
            self._queue.append(task)

    def take(self, source: Source, now: float) -> Task[J] | None:
        """Gives the next job for ``source``, if it may be asked now; say `done` when it is over, whatever came of it."""
        if not source.alive or source.denied or now < source.rest_until:
            return None
        if source.working and not source.proven:
            return None
        for place, task in enumerate(self._queue):
            if self._may_ask(source, task) and not self._better(source, task):
                del self._queue[place]
                source.working += 1
                return task
        return None

    def _may_ask(self, source: Source, task: Task[J]) -> bool:
        return id(source) not in task.absent and not self._is_bad(source, task)

    def _is_bad(self, source: Source, task: Task[J]) -> bool:
        return task.bad.get(id(source), 0) >= (_BAD_MAX_OF_USEFUL if source.blocks else _BAD_MAX)

    def _better(self, source: Source, task: Task[J]) -> bool:
        """Whether a job that ``source`` sent wrong is left to another, which is there and did not, or not as often."""
        bad = task.bad.get(id(source), 0)
        return bad > 0 and any(
            other.alive and not other.failures and task.bad.get(id(other), 0) < bad and self._may_ask(other, task)
            for other in self.sources
        )

    # What sources did

    def connected(self, source: Source, now: float) -> None:
        """A connection was made."""
        if not source.reached:
            source.failures, source.since = 0, now
        source.alive = source.reached = True
        source.reason = ""

    def done(self, source: Source) -> None:
        """A job that the source took is over: done, or handed back."""
        source.working -= 1

    def succeeded(self, source: Source, now: float, blocks: int, count: int) -> None:
        """Blocks arrived, ``count`` bytes of them."""
        source.blocks += blocks
        source.bytes += count
        source.failures = 0
        source.proven = True
        source.reason = ""
        source.since = now

    def gone(self, source: Source, now: float, reason: str, *, for_good: bool = False) -> float:
        """A connection failed or could not be made; gives the seconds to rest before the next try."""
        source.alive = False
        source.denied = source.denied or for_good
        return self._rest(source, now, reason)

    def failed(self, task: Task[J], source: Source, now: float, reason: str) -> float:
        """A request failed while the source stays; its job goes back. Gives the seconds to rest."""
        self._requeue(task)
        return self._rest(source, now, reason)

    def absent(self, task: Task[J], source: Source) -> None:
        """The source does not have (what is left of) the job."""
        task.absent.add(id(source))
        source.reason = source.reason or "does not have all of it"
        self._requeue(task)

    def bad(self, task: Task[J], source: Source, now: float, reason: str) -> float:
        """The source sent bytes that did not verify. Gives the seconds to rest."""
        task.bad[id(source)] = task.bad.get(id(source), 0) + 1
        return self.failed(task, source, now, reason)

    def again(self, task: Task[J]) -> None:
        """Part of the job was left out of an answer, without fault."""
        self._requeue(task)

    def _rest(self, source: Source, now: float, reason: str) -> float:
        if source.reached and not source.failures:
            source.since = now
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
