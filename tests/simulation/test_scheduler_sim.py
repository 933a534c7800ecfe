"""The scheduler under every weather, on a clock of its own: lossy, lying, poor, absent, flapping and stuck sources.

A world of sources is drawn from a seed and lived through, event by event. Whatever it is, a transfer must end: with every
job done exactly once, or with a verdict that is true of that world.
"""

from __future__ import annotations

import heapq
import itertools
import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.limits import FIRST_SOURCE_S
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
    now: float = 0.0
    done: dict[int, int] = field(default_factory=dict)
    verdict: object = None

    def __post_init__(self):
        self.rng = random.Random(self.seed)
        self.made = Scheduler([f"s{n}" for n in range(len(self.natures))], now=0.0, rng=self.rng, wait_s=WAIT_S)
        self.events = []
        self.order = itertools.count()
        self.has = [{job for job in range(self.jobs) if self.rng.random() < nature.holds} for nature in self.natures]
        self.out = {}  # jobs that a source works on -> the source

    def at(self, delay, call):
        heapq.heappush(self.events, (self.now + delay, next(self.order), call))

    def run(self):
        for job in range(self.jobs):
            self.made.put(job, urgent=job % 7 == 0)
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
            self.made.connected(source, self.now)
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
            self.made.done(source)
            return
        end(task, source, nature)
        self.made.done(source)
        if self.alive[id(source)] is lives:
            self.at(0.0, lambda: self.work(source, nature, lives))

    def answer(self, task, source, nature):
        if task.job in self.has[self.made.sources.index(source)]:
            self.done[task.job] = self.done.get(task.job, 0) + 1
            self.made.succeeded(source, self.now, 1, 100)
        else:
            self.made.absent(task, source)

    def lie(self, task, source, nature):
        self.made.bad(task, source, self.now, "wrong")

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


@settings(max_examples=300, deadline=None)
@given(st.lists(natures, max_size=6), st.integers(1, 25), st.integers(0, 2**32))
def test_every_transfer_ends_and_every_verdict_is_true(sources, jobs, seed):
    world = World(sources, jobs, seed).run()
    assert all(times == 1 for times in world.done.values())
    if world.verdict is None:
        assert len(world.done) == jobs
        return
    kind, job = world.verdict
    assert job not in world.done
    able = [nature for nature, has in zip(sources, world.has, strict=True) if job in has and not nature.denies]
    here = [source for source in world.made.sources if source.reached]
    if kind == "denied":
        assert all(nature.denies for nature in sources)
    elif kind == "unreached":
        assert not here
        assert world.now >= min(FIRST_SOURCE_S, WAIT_S) or not any(not nature.denies for nature in sources)
    elif kind == "absent":  # each that was there lacks it; the others were waited for
        assert all(not nature.up(world.now) or nature.leaves is not None or nature.comes for nature in able)
    elif kind == "corrupt":
        assert any(nature.lies or nature.empty for nature in sources)
    else:
        assert here
        assert world.now >= WAIT_S * 0.9


@settings(max_examples=150, deadline=None)
@given(st.lists(natures, max_size=5), st.integers(1, 25), st.integers(0, 2**32), st.integers(0, 5))
def test_one_honest_source_is_enough_whoever_is_beside_it(sources, jobs, seed, place):
    sources.insert(min(place, len(sources)), Nature())
    world = World(sources, jobs, seed).run()
    assert world.verdict is None
    assert len(world.done) == jobs


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 25), st.integers(0, 2**32), st.sampled_from([1.0, 5.0, 15.0]))
def test_a_source_that_comes_back_in_time_is_waited_for(jobs, seed, away_s):
    world = World([Nature(leaves=0.2, returns=0.2 + away_s)], jobs, seed).run()
    assert world.verdict is None
    assert len(world.done) == jobs


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.integers(0, 2**32))
def test_nine_liars_and_one_honest_source_waste_little(jobs, seed):
    world = World([Nature(lies=1.0)] * 9 + [Nature()], jobs, seed).run()
    assert len(world.done) == jobs
    assert sum(source.errors for source in world.made.sources) <= 9 * 3 * jobs
    assert world.now < 10 + jobs


@settings(max_examples=100, deadline=None)
@given(st.lists(natures, min_size=1, max_size=4), st.integers(1, 10), st.integers(0, 2**32))
def test_a_seed_gives_the_same_run(sources, jobs, seed):
    one, two = (World(sources, jobs, seed).run() for _ in range(2))
    assert (one.now, one.done, one.verdict) == (two.now, two.done, two.verdict)
