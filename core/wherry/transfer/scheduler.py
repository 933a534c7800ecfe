"""Decides which source is asked for which job, and when to give up (specs/0013). Pure: events and times in, jobs out.

A job is a batch of wants. Each source works on a few jobs at a time, takes the oldest job that it has not failed, and rests
after a failure (`resting`). A source that has given nothing yet, or nothing since its last failure, has one job at a time: each
job holds a buffer of the process's budget, and sources that stall must not hold all of them.

Where sources say what they have, they form a swarm (specs/0025 §3): each is asked for what it has, the rarest first, and at
the end for what others are late with.

Where several sources are there, a policy may choose who gets what (specs/0017): it sees a snapshot, and is obeyed as far as
all of the above allows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Generic

from wherry.dial import is_near
from wherry.limits import WAIT_S
from wherry.transfer.availability import offers
from wherry.transfer.depth import depth, typical
from wherry.transfer.flights import Flights
from wherry.transfer.hope import Hope
from wherry.transfer.newcomers import crowded
from wherry.transfer.planning import Planning
from wherry.transfer.resting import STAND_BACK_S, rest_s
from wherry.transfer.source import J, Source, Task
from wherry.transfer.waiting import Waiting, not_lacking

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from wherry.abc.exchange import HaveMap
    from wherry.transfer.choice import Choice
    from wherry.transfer.hope import Verdict
    from wherry.transfer.waiting import Order

_BAD_MAX: Final = 3  # times a source that never sent anything right may send the same job wrong
_BAD_MAX_OF_USEFUL: Final = 10  # and one that did: a line may flip bits now and then
_REFUSED_S: Final = 0.5  # one that choked us may answer again, but not by turns at our cost
_PARALLEL: Final = 4  # jobs at a time of a source that does not say
_HEDGE_S: Final = 0.05  # between two looks for what another source is late with: each takes all that is under way
_HEAR_S: Final = 1.0  # a peer that could say what it has is waited for so long: asked before, it is asked for the wrong things
_FIRST_JOBS: Final = 4  # chosen by chance: a newcomer needs something to give, soon, and not what all others are after


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
        order: Order = "rarest",
    ) -> None:
        """``choice`` is asked who gets which job where several sources are there; None: the oldest job, whoever is free.

        ``order`` is that of jobs in a swarm: the rarest first, or, for who reads while it comes, as they were put.
        """
        self.sources: list[Source] = []
        self.more = True  # whether more jobs will be put; whoever puts them says so
        self._rng = rng
        self._wait_s = wait_s
        self._waiting: Waiting[J] = Waiting(order, self._may_ask, self._better, self._is_bad)
        self._waiting.sources = self.sources
        self._plan: Planning[J] = Planning(choice, self.sources, self._waiting, self._slots, self._able)
        self._hope: Hope[J] = Hope(self.sources, wait_s, self._may_ask, self._is_bad)
        self._flights: Flights[J] = Flights(patient=order == "rarest")
        self._job_bytes = 0  # of the jobs that were put lately
        self.came = 0  # bytes of blocks, from all sources
        for address in addresses:
            self.add(address, now)

    def add(self, address: str, now: float) -> Source:
        """Takes a source that was found later."""
        self.sources.append(Source(address, since=now, local=is_near(address)))
        return self.sources[-1]

    @property
    def waiting(self) -> int:
        """Jobs that nobody works on."""
        return len(self._waiting)

    @property
    def swarming(self) -> bool:
        """Whether to ask for little at a time: a source has only a part, or wants that; or one exchanges, and is not alone."""
        if self._waiting.haves.any:
            return True
        return len(self.sources) > 1 and any(source.linked and source.alive for source in self.sources)

    @property
    def hedging(self) -> bool:
        """Whether a source may be asked for what another is late with; one that is alone need not look for that."""
        return self.swarming or sum([source.alive for source in self.sources]) > 1

    @property
    def snubbed(self) -> bool:
        """Whether jobs wait, and whoever is connected and could be asked for any answers others only."""
        there = [source for source in self.sources if source.alive and not source.denied]
        able = any(not source.choked and self._waiting.offers_any(source) for source in there)
        return bool(self._waiting) and not able and any(source.choked for source in there)

    @property
    def under_way(self) -> int:
        """Jobs that somebody works on."""
        return len(self._flights)

    def put(
        self,
        job: J,
        *,
        urgent: bool = False,
        size: int = 0,
        now: float = 0.0,
        spans: Sequence[tuple[int, int]] = (),
        deadline: float = math.inf,
    ) -> None:
        """Takes a new job of ``size`` bytes; an urgent one goes before all others.

        ``deadline``: an urgent one is needed then, by somebody who reads along: of these the nearest goes first.

        ``spans`` tell where it lies in the dataset's stretch of bytes, sorted; (): not known, or nowhere.
        """
        self._job_bytes = typical(self._job_bytes, size)
        self._requeue(Task(job, urgent, size=size, put=now, spans=spans, rank=self._rng.random(), deadline=deadline))

    def _requeue(self, task: Task[J]) -> None:
        self._plan.clear()
        self._waiting.put(task)

    def take(self, source: Source, now: float) -> Task[J] | None:
        """Gives the next job for ``source``, if it may be asked now; say `done` when it is over, whatever came of it."""
        if not self._waiting or not self._free(source, now):
            return None
        source.parallel = max(source.parallel, source.working + 1)  # whoever asks has room for one
        task = self._plan.next(source, now, more=self.more)
        if task is not None:
            self._waiting.remove(task)
            self._given(task, source, now)
        return task

    def recut(self, size: int, cut: Callable[[J], Sequence[tuple[J, int, Sequence[tuple[int, int]]]]]) -> int:
        """Cuts the jobs that wait into some of about ``size``; gives how many more there are. See `Waiting.recut`."""
        self._plan.clear()
        self._job_bytes = size
        return self._waiting.recut(cut, self._rng)

    def first_wanted(self) -> str:
        """Names what is wanted first of what waits, for people; "" if nothing does."""
        return str(self._waiting.first.job) if self._waiting else ""

    def waited(self, task: Task[J], source: Source, now: float) -> None:
        """A job that was given to ``source`` is asked for only now: it waited for the limits of the link."""
        flight = self._flights.of(task, source)
        if flight is not None:
            flight.asked = now

    def others(self, task: Task[J], source: Source) -> list[Source]:
        """Gives the other sources that are asked for the same job."""
        return self._flights.others(task, source)

    def beaten(self, task: Task[J], source: Source, now: float, *, brought: bool = False) -> None:
        """Another source brought a job; say `done` of this one too. If it was late, and has not ``brought`` it, it fails."""
        if self._flights.beaten(task, source, now) and not brought:
            self._rest(source, now, "did not answer in time")

    def drop(self, source: Source) -> None:
        """Forgets a source that is gone, and that nobody will call again."""
        self._waiting.haves.forget(source)
        self.sources.remove(source)

    def hedge(self, source: Source, now: float, able: Callable[[J], bool]) -> Task[J] | None:
        """Gives a job that is under way with another source and that ``source``, which has none, is to be asked for as well.

        ``able`` tells whether a job can be asked of two. The answer that comes first counts. Say `done` for each of the two.
        """
        if not self._flights or now < source.hedge_at or not self._free(source, now):
            return None

        def may(task: Task[J]) -> bool:
            return self._may_ask(source, task) and not task.failed.get(source.number) and able(task.job)

        if not source.proven and any(other.proven and not other.working and self._free(other, now) for other in self.sources):
            return None  # which is known to be there, and will look in a moment
        task = self._flights.late(source, now, may, total=self.came, ending=not self.more and not self._waiting)
        if task is not None:
            self._given(task, source, now)
        else:
            source.hedge_at = now + _HEDGE_S
        return task

    def _given(self, task: Task[J], source: Source, now: float) -> None:
        source.working += 1
        source.jobs += 1
        self._flights.begin(task, source, now)

    def _free(self, source: Source, now: float) -> bool:
        if not source.alive or source.denied or source.choked or now < max(source.rest_until, source.refused_until):
            return False
        if source.linked and (source.working >= self._bears(source, now) or self._to_be_heard(source, now)):
            return False
        return (source.proven or not source.working) and not crowded(source, self.sources)

    def _bears(self, source: Source, now: float) -> int:
        """Jobs that a source may have before it."""
        ending = not self.more and len(self._waiting) <= len(self.sources) and self.swarming
        urgent = bool(self._waiting) and self._waiting.first.urgent
        return depth(source, self.sources, now, self._job_bytes, ending=ending, urgent=urgent)

    def _to_be_heard(self, source: Source, now: float) -> bool:
        """Whether a peer is new and will say in a moment what it has; what a walk waits for is asked of it at once."""
        return source.have is None and now - source.linked_at < _HEAR_S and not (self._waiting and self._waiting.first.urgent)

    # What a source may be given

    def _slots(self, source: Source, now: float) -> int:
        """Jobs that a source may be given now."""
        if not self._free(source, now):
            return 0
        bears = self._bears(source, now) if source.linked else source.parallel
        return max(0, bears - source.working) if source.proven else 1

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
        if source.number in task.absent or self._is_bad(source, task):
            return False
        return source.have is None or (offers(source, task) and not_lacking(source, task))

    def _is_bad(self, source: Source, task: Task[J]) -> bool:
        return task.bad.get(source.number, 0) >= (_BAD_MAX_OF_USEFUL if source.blocks else _BAD_MAX)

    def _better(self, source: Source, task: Task[J]) -> bool:
        """Whether a job that ``source`` sent wrong is left to another, which is there and did not, or not as often."""
        return self._other(source, task, task.bad)

    def _other(self, source: Source, task: Task[J], faults: Mapping[int, int]) -> bool:
        """Whether another source that may have the job is there, not failing, and has fewer of these faults."""
        own = faults.get(source.number, 0)
        return own > 0 and any(
            other.answers and faults.get(other.number, 0) < own and self._may_ask(other, task) for other in self.sources
        )

    # What sources did

    def have(self, source: Source, now: float, have: HaveMap | None, gained: Iterable[tuple[int, int]] | None = None) -> None:
        """A source says what it has; ``gained`` is what is new in it, where that is all that changed.

        None: it says nothing, and may be asked for anything.
        """
        self._plan.clear()
        source.says(have, now)
        source.hedge_at = now
        self._waiting.haves.learn(source, gained)

    def choked(self, source: Source, *, on: bool) -> None:
        """A source will answer nothing until further notice, or answers again."""
        self._plan.clear()
        source.choked = on

    def connected(self, source: Source, now: float, parallel: int = _PARALLEL, *, linked: bool = False) -> None:
        """A connection was made, for ``parallel`` jobs at a time; ``linked``, by a transport that exchanges."""
        self._plan.clear()
        source.linked, source.choked, source.linked_at = linked, False, now
        self._plan.failed()
        source.parallel = parallel
        if not source.reached:
            source.failures, source.since = 0, now
        source.doubts = min(source.failures, 1)  # that nobody answered there tells nothing of one who does now
        source.alive = source.reached = True
        source.reason = ""

    def done(self, source: Source, task: Task[J], now: float = 0.0) -> None:
        """A job that the source took is over: done, or handed back. What it gave of it counts for its standing."""
        source.working -= 1
        self._plan.clear()
        flight = self._flights.of(task, source)
        self._flights.end(task, source, now)
        if flight is not None and flight.got:
            source.standing.answered(now, flight.got, now - flight.asked, flight.first - flight.asked)

    def succeeded(self, source: Source, now: float, blocks: int, count: int, task: Task[J] | None = None) -> None:
        """Blocks arrived, ``count`` bytes of them, of ``task``."""
        flight = self._flights.of(task, source) if task is not None else None
        if flight is not None:
            flight.first = flight.first or now
            flight.got += count
        if not source.proven:
            self._plan.clear()
        source.meter.add(now, count)
        self.came += count
        self._waiting.by_chance, self._waiting.came_at = self.came < _FIRST_JOBS * self._job_bytes, now
        source.blocks += blocks
        source.bytes += count
        source.failures = source.doubts = 0
        source.proven = True
        source.reason = source.cause = ""
        source.since = now

    def gone(self, source: Source, now: float, reason: str, *, for_good: bool = False, busy: bool = False) -> float:
        """A connection failed or could not be made; gives the seconds to rest before the next try.

        ``busy``: it sent this node on to others. While any of these is there, it is left alone for longer, until a moment by
        chance: those whom an origin sent on at once must not come back at once (specs/0029 §6.1).
        """
        self._plan.clear()
        source.alive = False
        source.denied = source.denied or for_good
        source.have = None
        self._waiting.haves.forget(source)
        seconds = self._rest(source, now, reason)
        if busy and self.stands_by(source):
            seconds = self._rng.uniform(*STAND_BACK_S)
            source.rest_until = source.busy_until = now + seconds
        return seconds

    def stands_by(self, source: Source) -> bool:
        """Tells whether another source is connected, so that a busy one can be spared."""
        return any(other is not source and other.alive and not other.denied for other in self.sources)

    def failed(self, task: Task[J], source: Source, now: float, reason: str, *, rejected: int = 0, vain: bool = False) -> float:
        """A request failed, or brought ``rejected`` blocks, while the source stays; its job goes back.

        ``vain``: nothing of it was done. Gives the seconds to rest.
        """
        if rejected:
            source.standing.wrong(now, rejected)
        task.fails(source, now, self._wait_s, vain=vain)
        self.again(task, source)
        return self._rest(source, now, reason)

    def refused(self, task: Task[J], source: Source, now: float) -> None:
        """The source chokes us since it was asked: no fault, and the job goes back."""
        source.refused_until = now + _REFUSED_S
        self.again(task, source)

    def absent(self, task: Task[J], source: Source) -> None:
        """The source does not have (what is left of) the job; one that has a part so far may have it later."""
        if source.partial:
            task.lacks = {**task.lacks, source.number: source.grew}
        else:
            task.absent |= {source.number}
        source.reason = source.reason or ("does not have all of it" if source.blocks else "does not have it")
        self.again(task, source)

    def bad(self, task: Task[J], source: Source, now: float, reason: str, *, rejected: int = 0) -> float:
        """The source sent bytes that did not verify, ``rejected`` blocks, and nothing else. Gives the seconds to rest."""
        source.standing.wrong(now, rejected)
        task.bad = {**task.bad, source.number: task.bad.get(source.number, 0) + 1}
        return self.failed(task, source, now, reason)

    def again(self, task: Task[J], source: Source | None = None) -> None:
        """Part of the job was left out of an answer, without fault; unless another is asked for it too, it waits again."""
        if source is None or not self._flights.others(task, source):
            self._requeue(task)

    def twice(self, count: int) -> None:
        """Bytes came that another source had given already, or that nobody waited for any more."""
        self._flights.came_twice(count)

    @property
    def wasted(self) -> int:
        """Bytes that came twice."""
        return self._flights.wasted

    def _rest(self, source: Source, now: float, reason: str) -> float:
        self._plan.failed()
        source.errors += 1
        source.proven = False
        source.reason = source.cause = reason
        if now < source.rest_until:  # all that is under way fails when a connection is lost: of one thing, and it counts as one
            return source.rest_until - now
        if source.reached and not source.failures:
            source.since = now
        source.standing.failed(now)
        source.failures, source.doubts = source.failures + 1, source.doubts + 1
        source.rest_until = now + (seconds := rest_s(source.failures, self._wait_s, self._rng))
        return seconds

    # When to give up

    def verdict(self, now: float) -> Verdict[J] | None:
        """Tells why the transfer cannot go on; None while it can. Call it from time to time, and when a job goes back."""
        return self._hope.verdict(self._waiting, now, self._waiting.came_at)
