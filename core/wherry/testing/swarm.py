"""A transfer from peers that are not there, on a clock that is not real: what a policy comes to (specs/0017 §5).

The scheduler and its fence are core's own; the peers are numbers. So a minute of transfer takes milliseconds, and the same
seed gives the same run:

    lived = live(MyPolicy(), [Peer(10e6), Peer(1e6, corrupts=0.3)], jobs=500)
    lived.seconds, lived.given, lived.complaints
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.limits import BUFFER_BYTES
from wherry.transfer.choice import Choice
from wherry.transfer.scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.policy import Policy
    from wherry.transfer.source import Source, Task

_AHEAD: Final = 16  # jobs that wait at a time, as in a real transfer
_TICK_S: Final = 0.25  # somebody looks at least so often
_END_S: Final = 1e6  # a transfer that takes longer hangs


class Peer(NamedTuple):
    """One peer: its bytes a second over all jobs, and how it behaves; shares are chances of each job."""

    rate: float
    latency_s: float = 0.02
    corrupts: float = 0.0
    fails: float = 0.0
    has: float = 1.0
    parallel: int = 4
    local: bool = False


@dataclass(slots=True)
class Lived:
    """What became of a transfer."""

    seconds: float  # of the virtual clock
    given: list[int]  # jobs that each peer was given
    wrong: int  # jobs that came wrong
    verdict: str  # "" if every job was done
    complaints: list[str]  # why the policy was left out


def live(policy: Policy | None, peers: Sequence[Peer], *, jobs: int, seed: int = 0, size: int = BUFFER_BYTES) -> Lived:
    """Lives through a transfer of so many jobs of ``size`` bytes; None: without a policy, as core chooses by itself."""
    world = _World(policy, peers, jobs, seed, size)
    world.run()
    return world.lived


class _World:
    def __init__(self, policy: Policy | None, peers: Sequence[Peer], jobs: int, seed: int, size: int) -> None:
        self._peers, self._jobs, self._size = peers, jobs, size
        self._rng = random.Random(seed)
        self._now = 0.0
        self.lived = Lived(0.0, [0] * len(peers), 0, "", [])
        choice = None
        if policy is not None:
            choice = Choice(policy, random.Random(seed), lambda: self._now, self.lived.complaints.append)
        places = [
            f"http://{'10' if peer.local else '198'}.51.{number // 250}.{number % 250}:1" for number, peer in enumerate(peers)
        ]
        self._made: Scheduler[int] = Scheduler(places, now=0.0, rng=self._rng, choice=choice)
        self._busy = [0.0] * len(peers)  # until when each sends what it was asked for
        self._events: list[tuple[float, int, Task[int]]] = []
        self._put = self._done = 0
        self._lacks = [{job for job in range(jobs) if self._rng.random() >= peer.has} for peer in peers]

    def run(self) -> None:
        for source, peer in zip(self._made.sources, self._peers, strict=True):
            self._made.connected(source, 0.0, peer.parallel)
        order = list(range(len(self._peers)))
        while self._done < self._jobs and self._now < _END_S:
            while self._put < self._jobs and self._made.waiting < _AHEAD:
                self._made.put(self._put, size=self._size, now=self._now)
                self._put += 1
            self._made.more = self._put < self._jobs
            self._rng.shuffle(order)
            for number in order:
                self._ask(number)
            verdict = self._made.verdict(self._now)
            if verdict is not None:
                self.lived.verdict = verdict.kind
                break
            self._step()
        else:
            self.lived.verdict = "" if self._done == self._jobs else "hangs"
        self.lived.seconds = self._now
        self.lived.given = [source.jobs for source in self._made.sources]

    def _ask(self, number: int) -> None:
        source, peer = self._made.sources[number], self._peers[number]
        while source.working < peer.parallel:
            task = self._made.take(source, self._now)
            if task is None:
                return
            begins = max(self._now + peer.latency_s, self._busy[number])
            self._busy[number] = begins + self._size / peer.rate
            heapq.heappush(self._events, (self._busy[number], number, task))

    def _step(self) -> None:
        """Goes on to the next thing that happens."""
        until = self._now + _TICK_S
        if not self._events or self._events[0][0] > until:
            self._now = until
            return
        self._now, number, task = heapq.heappop(self._events)
        self._over(self._made.sources[number], self._peers[number], number, task)

    def _over(self, source: Source, peer: Peer, number: int, task: Task[int]) -> None:
        chance = self._rng.random()
        if task.job in self._lacks[number]:
            self._made.absent(task, source)
        elif chance < peer.corrupts:
            self.lived.wrong += 1
            self._made.bad(task, source, self._now, "wrong", rejected=1)
        elif chance < peer.corrupts + peer.fails:
            self._made.failed(task, source, self._now, "failed")
        else:
            self._made.succeeded(source, self._now, 1, self._size, task)
            self._done += 1
        self._made.done(source, task, self._now)
