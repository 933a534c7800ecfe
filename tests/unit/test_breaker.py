"""The circuit breaker: when it opens, for how long, and that one alone probes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from wherry.transfer.breaker import (
    FAILURES,
    OPEN_FIRST_S,
    OPEN_MAX_S,
    PROBE_S,
    WINDOW_S,
    Breaker,
    Breakers,
)


def opened(now=0.0, seed=1):
    breaker = Breaker(random.Random(seed))
    for _ in range(FAILURES):
        breaker.failed(now)
    return breaker


def probing(breaker, now):
    """Waits until the breaker lets somebody probe, and is the one; gives when."""
    while wait := breaker.ask(now):
        now += wait
    return now


def test_a_few_failures_do_not_open_it_and_many_do():
    breaker = Breaker(random.Random(1))
    for _ in range(FAILURES - 1):
        breaker.failed(0.0)
        assert breaker.ask(0.0) == 0.0
    breaker.failed(0.0)
    assert breaker.state(0.0) == "open"
    assert 0 < breaker.ask(0.0) <= OPEN_FIRST_S


def test_failures_long_ago_do_not_count():
    breaker = Breaker(random.Random(1))
    for number in range(5 * FAILURES):
        breaker.failed(number * (WINDOW_S / (FAILURES - 1) + 1))
    assert breaker.state(1e6) == "closed"


def test_success_between_them_forgets_failures():
    breaker = Breaker(random.Random(1))
    for number in range(5 * FAILURES):
        breaker.failed(float(number))
        if number % (FAILURES - 1) == 0:
            breaker.succeeded(float(number))
    assert breaker.ask(100.0) == 0.0
    breaker.succeeded(100.0)
    assert breaker.is_blank


def test_one_probes_and_the_others_wait():
    breaker = opened()
    now = probing(breaker, 0.0)
    assert breaker.state(now) == "half-open"
    assert all(0 < breaker.ask(now + part) <= 1.0 for part in (0.0, 0.1, 5.0))
    breaker.succeeded(now + 5)
    assert breaker.ask(now + 5) == 0.0


def test_it_is_open_for_longer_each_time_up_to_a_bound():
    longest = []
    for times in range(8):
        found = []
        for seed in range(200):
            breaker = opened(seed=seed)
            now = 0.0
            for _ in range(times):
                now = probing(breaker, now)
                breaker.failed(now)
            found.append(breaker.ask(now))
        longest.append(max(found))
        assert min(found) > 0
        assert max(found) <= min(OPEN_MAX_S, OPEN_FIRST_S * 2**times)
        assert len(set(found)) > 150, "no two clients come back together"
    assert longest[:3] == sorted(longest[:3])
    assert longest[-1] > 2 * longest[1]


def test_a_probe_that_is_never_heard_of_has_failed():
    breaker = opened()
    now = probing(breaker, 0.0)
    assert breaker.ask(now + PROBE_S - 0.1) > 0
    assert breaker.ask(now + PROBE_S) > 0
    assert breaker.state(now + PROBE_S) == "open"
    assert breaker.times == 2


def test_a_probe_that_is_dropped_leaves_it_to_another():
    breaker = opened()
    now = probing(breaker, 0.0)
    breaker.dropped(now)
    assert breaker.ask(now) == 0.0
    assert breaker.times == 1
    closed = Breaker(random.Random(1))
    closed.dropped(0.0)
    assert closed.ask(0.0) == 0.0


@given(st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), max_size=60), st.integers(1, 4))
def test_there_are_never_more_than_allowed_and_open_ones_stay_longest(keys, most):
    breakers = Breakers(random.Random(1), most)
    for key in keys:
        breaker = breakers.of(key)
        assert breakers.of(key) is breaker
        breaker.failed(0.0)
        assert len(breakers) <= most


def test_blank_ones_are_forgotten_first():
    breakers = Breakers(random.Random(1), 3)
    bad = breakers.of("bad")
    for _ in range(FAILURES):
        bad.failed(0.0)
    for number in range(50):
        breakers.of(f"http://h{number}:1")
    assert breakers.of("bad") is bad
    assert breakers.state("bad", 0.0) == "open"
    assert breakers.state("http://nobody:1", 0.0) == "closed"


class Calling(RuleBasedStateMachine):
    """Many callers of one peer: whatever they do, calls to a failing peer are rare, and one that is well is called soon."""

    def __init__(self):
        super().__init__()
        self.breaker = Breaker(random.Random(0))
        self.now = 0.0
        self.probing = False

    @rule(seconds=st.floats(0, 30, allow_nan=False))
    def wait(self, seconds):
        self.now += seconds

    @rule(fate=st.sampled_from(["failed", "succeeded", "dropped", "nothing"]))
    def call(self, fate):
        before = self.breaker.state(self.now)
        wait = self.breaker.ask(self.now)
        assert 0 <= wait <= max(OPEN_MAX_S, PROBE_S)
        if before == "closed":
            assert wait == 0
        if wait or fate == "nothing":
            return
        getattr(self.breaker, fate)(self.now)
        if before == "half-open":
            assert self.breaker.state(self.now) == {"failed": "open", "succeeded": "closed", "dropped": "half-open"}[fate]

    @precondition(lambda self: self.breaker.state(self.now) == "open")
    @rule()
    def late_failures_of_others_do_not_prolong_it(self):
        wait = self.breaker.ask(self.now)
        self.breaker.failed(self.now)
        assert self.breaker.ask(self.now) == wait

    @invariant()
    def whoever_waits_is_let_in_at_last(self):
        copy = Breaker(random.Random(0), self.breaker.times, _until=self.breaker._until, _state=self.breaker._state)
        now, asked = self.now, 0
        while wait := copy.ask(now):
            now += wait
            asked += 1
            assert asked < 200
        assert now - self.now <= PROBE_S + OPEN_MAX_S + 1


TestCalling = Calling.TestCase


def test_a_thousand_transfers_call_a_dead_peer_as_rarely_as_one():
    rng = random.Random(3)
    breakers = Breakers(rng)
    due = [(rng.uniform(0, 1), 0) for _ in range(300)]
    calls = 0
    now = 0.0
    while now < 300:
        due.sort()
        now, _ = due.pop(0)
        breaker = breakers.of("http://dead:1")
        wait = breaker.ask(now)
        if not wait:
            calls += 1
            breaker.failed(now)
            wait = rng.uniform(2, 8)  # its own rest
        due.append((now + max(wait, 0.05), 0))
    assert calls < 100
    assert calls >= 300 / OPEN_MAX_S
    assert breakers.of("http://dead:1").times == pytest.approx(calls - FAILURES + 1, abs=1)
