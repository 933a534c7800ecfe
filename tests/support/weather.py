"""A world of sources of every nature, and a transfer lived through in it, on a clock of its own (specs/0013)."""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field

from hypothesis import strategies as st

from wherry.transfer.choice import Choice
from wherry.transfer.scheduler import Scheduler

WAIT_S = 20.0
STUCK_S = 30.0  # what a fetch from a silent source takes until the transport gives up
HANG_S = 3600.0


@dataclass(frozen=True)
class Nature:
    """What one source is like; shares are chances of each request."""

    holds: float = 1.0  # share of the jobs that it has
    lies: float = 0.0
    fails: float = 0.0  # the request fails, the connection stays
    cuts: float = 0.0  # the connection is lost
    stuck: float = 0.0  # no answer until the time-out
    empty: float = 0.0  # an answer with nothing in it
    comes: float = 0.0  # when it is first there
    leaves: float | None = None
    returns: float | None = None
    denies: bool = False
    parallel: int = 2

    def up(self, now):
        if now < self.comes:
            return False
        return not (self.leaves is not None and now >= self.leaves and (self.returns is None or now < self.returns))

    def honest(self):
        """Whether it is sure to give what it has, given time."""
        return not self.denies and self.lies == self.fails == self.cuts == self.empty == self.stuck == 0


@dataclass
class World:
    """Lives through one transfer. Times are virtual; events are (time, order, what to do)."""

    natures: list[Nature]
    jobs: int
    seed: int
    policy: object = None
    now: float = 0.0
    done: dict[int, int] = field(default_factory=dict)
    verdict: object = None

    def __post_init__(self):
        self.rng = random.Random(self.seed)
        self.complaints = []
        choice = Choice(self.policy, self.rng, lambda: self.now, self.complaints.append) if self.policy else None
        names = [f"http://s{number}:1" for number in range(len(self.natures))]
        self.made = Scheduler(names, now=0.0, rng=self.rng, wait_s=WAIT_S, choice=choice)
        self.events = []
        self.order = itertools.count()
        self.has = [{job for job in range(self.jobs) if self.rng.random() < nature.holds} for nature in self.natures]
        self.out = {}  # jobs that a source works on -> the source

    def at(self, delay, call):
        heapq.heappush(self.events, (self.now + delay, next(self.order), call))

    def run(self):
        for job in range(self.jobs):
            self.made.put(job, urgent=job % 7 == 0, size=100)
        self.made.more = False
        for source, nature in zip(self.made.sources, self.natures, strict=True):
            self.at(0.0, lambda source=source, nature=nature: self.dial(source, nature))
        self.at(0.25, self.judge)
        while self.events and len(self.done) < self.jobs and self.verdict is None:
            self.now, _, call = heapq.heappop(self.events)
            assert self.now < HANG_S, "it neither ends nor gives up"
            call()
            assert self.made.waiting + len(self.out) + len(self.done) == self.jobs, "a job is lost, or there twice"
        return self

    def judge(self):
        self.verdict = self.made.verdict(self.now)
        self.at(0.25, self.judge)

    def dial(self, source, nature):
        if nature.denies:
            self.made.gone(source, self.now, "401", for_good=True)
        elif nature.up(self.now):
            self.made.connected(source, self.now, nature.parallel)
            lives = object()
            self.alive = {**getattr(self, "alive", {}), id(source): lives}
            for _ in range(nature.parallel):
                self.at(0.0, lambda: self.work(source, nature, lives))
        else:
            self.at(self.made.gone(source, self.now, "refused"), lambda: self.dial(source, nature))

    def work(self, source, nature, lives):
        if self.alive[id(source)] is not lives:
            return
        task = self.made.take(source, self.now)
        if task is None:
            self.at(max(0.1, source.rest_until - self.now), lambda: self.work(source, nature, lives))
            return
        assert task.job not in self.out, "two sources work on one job"
        assert task.job not in self.done, "a job that is done is asked for again"
        self.out[task.job] = source
        chance = self.rng.random()
        delay, end = 0.1, self.answer
        for share, otherwise in (
            (nature.stuck, self.stick),
            (nature.lies, self.lie),
            (nature.empty, self.lie),
            (nature.fails, self.fail),
            (nature.cuts, self.cut),
        ):
            if 0 <= chance < share:
                delay, end = STUCK_S if otherwise == self.stick else 0.1, otherwise
            chance -= share
        if not nature.up(self.now):
            end = self.cut
        self.at(delay * self.rng.uniform(0.5, 1.5), lambda: self.over(task, source, nature, lives, end))

    def over(self, task, source, nature, lives, end):
        del self.out[task.job]
        if self.alive[id(source)] is not lives:  # the connection was lost meanwhile: the fetch was cancelled
            self.made.again(task)
            self.made.done(source, task, self.now)
            return
        end(task, source, nature)
        self.made.done(source, task, self.now)
        if self.alive[id(source)] is lives:
            self.at(0.0, lambda: self.work(source, nature, lives))

    def answer(self, task, source, nature):
        if task.job in self.has[self.made.sources.index(source)]:
            self.done[task.job] = self.done.get(task.job, 0) + 1
            self.made.succeeded(source, self.now, 1, 100, task)
        else:
            self.made.absent(task, source)

    def lie(self, task, source, nature):
        self.made.bad(task, source, self.now, "wrong", rejected=1)

    def fail(self, task, source, nature):
        self.made.failed(task, source, self.now, "failed")

    def stick(self, task, source, nature):
        self.made.failed(task, source, self.now, "silent")

    def cut(self, task, source, nature):
        self.made.failed(task, source, self.now, "cut")
        self.alive[id(source)] = None
        self.at(self.made.gone(source, self.now, "cut"), lambda: self.dial(source, nature))


shares = st.sampled_from([0.0, 0.0, 0.0, 0.1, 0.5, 1.0])
natures = st.builds(
    Nature,
    holds=st.sampled_from([0.0, 0.5, 0.9, 1.0, 1.0]),
    lies=shares,
    fails=shares,
    cuts=shares,
    stuck=shares,
    empty=shares,
    comes=st.sampled_from([0.0, 0.0, 0.0, 3.0, 15.0, 1e9]),
    leaves=st.sampled_from([None, None, 0.3, 2.0]),
    returns=st.sampled_from([None, 5.0, 15.0]),
    denies=st.sampled_from([False, False, False, True]),
    parallel=st.sampled_from([1, 4]),
)
