"""Super-seeding among followers that ask for jobs, which are larger than units, or made less far ahead than units are shown."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheduling import swarm

from wherry.abc.exchange import HaveMap
from wherry.stretches import Stretches
from wherry.swarm.reveal import STALL_S, STALL_TIMES, WINDOW, Reveal
from wherry.units import MiB

TAKES_S = 0.1  # a MiB
TICK_S = 0.1


class Swarm:
    """A seed, and followers that download all of it from each other and from the seed, one job from each at a time."""

    def __init__(self, size, job, *, ahead, seed, count=2):
        self.made = Reveal(size, random.Random(seed))
        self.now = 0.0
        self.jobs = [[(at, min(at + job, size)) for at in range(0, size, job)] for _ in range(count)]
        self.ahead = ahead
        self.haves = [Stretches() for _ in range(count)]
        self.shown = [self.made.join(None, 0.0) for _ in range(count)]
        self.gets = [
            swarm("seed", *(f"{other}" for other in range(count)), jobs=0, seed=seed + number)[0] for number in range(count)
        ]
        self.flights = [[] for _ in range(count)]
        self.made.alone()
        for shown in self.shown:
            self.made.onward(shown, 0.0)

    def tick(self):
        """Lets some time pass."""
        self.now += TICK_S
        for number, get in enumerate(self.gets):
            self._take_in(number)
            self._arrive(number)
            self._tell(number)
            for source in get.sources:
                if not source.working and (task := get.take(source, self.now)) is not None:
                    took = (task.job[1] - task.job[0]) / MiB * TAKES_S
                    self.flights[number].append((self.now + took, source, task))
        idle = not any(flight for flights in self.flights for flight in flights if flight[1].address == "seed")
        if idle:
            self.made.again(self.now)
        for shown in self.shown:
            self.made.onward(shown, self.now)

    def _take_in(self, number):
        get, jobs = self.gets[number], self.jobs[number]
        while jobs and get.waiting < self.ahead:
            begin, end = jobs.pop(0)
            get.put((begin, end), size=end - begin, spans=[(begin, end)], now=self.now)
        get.more = bool(jobs)
        seed, *others = get.sources
        get.have(seed, self.now, HaveMap(self.shown[number].spans, complete=True, choosy=True))
        for source, have in zip(others, self.haves, strict=True):
            get.have(source, self.now, HaveMap(have))

    def _arrive(self, number):
        get, flights = self.gets[number], self.flights[number]
        for flight in [flight for flight in flights if flight[0] <= self.now]:
            _, source, task = flight
            flights.remove(flight)
            get.succeeded(source, self.now, 1, task.job[1] - task.job[0], task)
            get.done(source, task, self.now)
            self.haves[number].add(*task.job)
            if source.address == "seed":
                self.made.sent(self.shown[number], task.job[1] - task.job[0], self.now, idle=False)

    def _tell(self, number):
        have = HaveMap(self.haves[number], complete=self.done(number))
        self.made.has(self.shown[number], have, self.now)
        self.made.refresh(self.shown[number], have, self.now)

    def done(self, number):
        return not self.jobs[number] and not self.gets[number].waiting and not self.flights[number]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("job", "ahead"),
    [(MiB, 1024), (MiB, 64), (MiB, 4), (4 * MiB, 1024), (7 * MiB // 2, 1024), (300_000, 512)],
    ids=["units", "small files", "tiny files", "larger than units", "across units", "smaller than units"],
)
def test_nobody_waits_for_what_the_seed_does_not_show(job, ahead, seed):
    """A unit in which no job begins, or of which none is made yet, is asked for by nobody, and another one must be shown."""
    made = Swarm(256 * MiB, job, ahead=ahead, seed=seed)
    alone_s = 2 * len(made.jobs[0]) * max(TICK_S, job / MiB * TAKES_S)  # both from the seed, by turns
    stall_s = max(STALL_S, STALL_TIMES * 2.0)
    while not all(made.done(number) for number in range(2)):
        made.tick()
        assert made.now < alone_s + 2 * stall_s


def test_who_is_being_served_is_shown_no_more_however_long_it_takes():
    """On a slow link all take long, and to show everybody the same would only divide it."""
    made = Reveal(64 * MiB, random.Random(1))
    a, b = made.join(None, 0.0), made.join(None, 0.0)
    for shown in (a, b):
        made.onward(shown, 0.0)
    a.asks = True
    assert {id(shown) for shown, _ in made.again(1000.0)} == {id(b)}
    assert len(a.pending) == WINDOW
    a.asks = False
    assert {id(shown) for shown, _ in made.again(1001.0)} == {id(a)}


def test_two_that_stand_still_are_not_shown_the_same():
    made = Reveal(64 * MiB, random.Random(1))
    a, b = made.join(None, 0.0), made.join(None, 0.0)
    for shown in (a, b):
        made.onward(shown, 0.0)
    told = {id(shown): spans for shown, spans in made.again(1000.0)}
    assert told.keys() == {id(a), id(b)}
    assert Stretches([*told[id(a)], *told[id(b)]]).total == 2 * WINDOW * MiB


@given(
    st.integers(1, 40 * MiB),
    st.sampled_from([MiB, 2 * MiB, 3 * MiB]),
    st.lists(st.tuples(st.integers(0, 41 * MiB), st.integers(1, 9 * MiB)), max_size=12),
)
def test_the_units_in_a_map_are_those_whose_marks_it_covers(size, unit, pairs):
    made = Reveal(size, random.Random(1))
    made.unit, made.count = unit, -(-size // unit)
    theirs = Stretches((start, start + length) for start, length in pairs)
    found = [at for first, last in made._marked(theirs) for at in range(first, last)]
    assert found == [at for at in range(made.count) if theirs.covers(*made._mark(at))]
