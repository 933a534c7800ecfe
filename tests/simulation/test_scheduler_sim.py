"""The scheduler under every weather, on a clock of its own: lossy, lying, poor, absent, flapping and stuck sources.

A world of sources is drawn from a seed and lived through, event by event. Whatever it is, a transfer must end: with every
job done exactly once, or with a verdict that is true of that world. Whatever policy chooses, too, one that is broken included.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weather import WAIT_S, Nature, World, natures

from wherry.abc.policy import Policy
from wherry.limits import FIRST_SOURCE_S
from wherry_policy.even import Random, RoundRobin
from wherry_policy.fastest import Fastest
from wherry_policy.local import LocalFirst
from wherry_policy.reputation import Reputation


class GivesNothing(Policy):
    def plan(self, view, rng):
        return []


class Raises(Policy):
    def plan(self, view, rng):
        raise KeyError("a bug")


class AnswersAtRandom(Policy):
    """Anything at all: pairs that are allowed by chance, that are not, and what is no pair."""

    def plan(self, view, rng):
        pairs = [(rng.randrange(-1, 5), rng.randrange(-1, 4)) for _ in range(rng.randrange(4))]
        return rng.choice([pairs, pairs[:1], [], None, 7, [None], [(0,)], [("a", 0)], iter(pairs)])


policies = st.sampled_from(
    [None, Reputation(0.25), Fastest(), RoundRobin(), Random(), LocalFirst(), GivesNothing(), Raises(), AnswersAtRandom()]
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(natures, max_size=6), st.integers(1, 25), st.integers(0, 2**32), policies)
def test_every_transfer_ends_and_every_verdict_is_true(sources, jobs, seed, policy):
    world = World(sources, jobs, seed, policy).run()
    assert all(times == 1 for times in world.done.values())
    if world.verdict is None:
        assert len(world.done) == jobs
        return
    kind, job, lacking = world.verdict
    assert lacking <= {source.number for source in world.made.sources}
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
@given(st.lists(natures, max_size=5), st.integers(1, 25), st.integers(0, 2**32), st.integers(0, 5), policies)
def test_one_honest_source_is_enough_whoever_is_beside_it(sources, jobs, seed, place, policy):
    sources.insert(min(place, len(sources)), Nature())
    world = World(sources, jobs, seed, policy).run()
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


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(natures, min_size=1, max_size=4), st.integers(1, 10), st.integers(0, 2**32), policies)
def test_a_seed_gives_the_same_run(sources, jobs, seed, policy):
    one, two = (World(sources, jobs, seed, policy).run() for _ in range(2))
    assert (one.now, one.done, _told(one), one.complaints) == (two.now, two.done, _told(two), two.complaints)


def _told(world):
    """Gives its verdict; sources as their places among all, for no two ever have one number."""
    if world.verdict is None:
        return None
    kind, job, lacking = world.verdict
    return kind, job, [place for place, source in enumerate(world.made.sources) if source.number in lacking]


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(natures, min_size=2, max_size=6), st.integers(1, 25), st.integers(0, 2**32), policies)
def test_a_policy_is_complained_of_once_and_ours_never(sources, jobs, seed, policy):
    world = World(sources, jobs, seed, policy).run()
    broken = isinstance(policy, GivesNothing | Raises | AnswersAtRandom)
    assert len(world.complaints) <= broken
