"""Whom to serve when many want to be (specs/0025 §4; Cohen 2003, BEP 3)."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.swarm.choking import NEWCOMER_S, OPTIMISTIC_S, RECHOKE_S, TURN_S, Choking, Contender
from wherry.swarm.options import SwarmOptions
from wherry.transfer.scheduler import Scheduler

OPTIONS = SwarmOptions()


def peers(count, *, gave=(), met_at=-1000.0):
    made = [Contender(met_at, interested=True) for _ in range(count)]
    for peer, count_ in zip(made, gave, strict=False):
        peer.gave = count_
    return made


def served(made):
    return [number for number, peer in enumerate(made) if not peer.choked]


def test_nobody_is_choked_while_few_want_something():
    made = peers(OPTIONS.choke_from - 1)
    Choking(OPTIONS, random.Random(1)).rechoke(made, 0.0, seed=False)
    assert len(served(made)) == len(made)


def test_those_that_gave_most_are_served_and_one_in_hope():
    made = peers(12, gave=[1, 9, 8, 7, 6, 5])
    Choking(OPTIONS, random.Random(1)).rechoke(made, 0.0, seed=False)
    assert {1, 2, 3, 4} <= set(served(made))
    assert len(served(made)) == OPTIONS.regular + OPTIONS.optimistic


def test_what_was_given_two_intervals_ago_does_not_count():
    choking = Choking(OPTIONS, random.Random(1))
    made = peers(12, gave=[5, 5, 5, 5])
    choking.rechoke(made, 0.0, seed=False)
    assert {0, 1, 2, 3} <= set(served(made))
    for peer in made[8:]:
        peer.gave = 1
    choking.rechoke(made, 10.0, seed=False)
    assert {0, 1, 2, 3} <= set(served(made))  # of the last interval and the one before
    for peer in made[8:]:
        peer.gave = 1
    choking.rechoke(made, 20.0, seed=False)
    assert {8, 9, 10, 11} <= set(served(made))


def test_a_seed_serves_all_by_turns():
    made = peers(40)
    Choking(OPTIONS, random.Random(1)).rechoke(made, 0.0, seed=True)
    assert len(served(made)) == 40


def test_places_that_no_giver_takes_go_to_others():
    made = peers(12, gave=[3])
    Choking(OPTIONS, random.Random(1)).rechoke(made, 0.0, seed=False)
    assert 0 in served(made)
    assert len(served(made)) == OPTIONS.regular + OPTIONS.optimistic


def test_hope_stays_for_three_rechokes_and_then_moves():
    choking = Choking(OPTIONS, random.Random(3))
    hopes = []
    made = peers(20)
    for turn in range(13):
        for peer in made[:4]:
            peer.gave = 10
        choking.rechoke(made, turn * RECHOKE_S, seed=False)
        (hope,) = set(served(made)) - {0, 1, 2, 3}
        hopes.append(hope)
    assert OPTIMISTIC_S == 3 * RECHOKE_S
    assert all(len(set(hopes[at : at + 3])) == 1 for at in range(0, 12, 3))
    assert len(set(hopes)) > 1


def test_everybody_is_hoped_for_at_some_time():
    choking = Choking(OPTIONS, random.Random(4))
    made = peers(10)
    seen = set()
    for turn in range(0, 600, 3):
        for peer in made[:4]:
            peer.gave = 10
        choking.rechoke(made, turn * RECHOKE_S, seed=False)
        seen |= set(served(made))
    assert seen == set(range(10))


def test_newcomers_are_hoped_for_three_times_as_often():
    count = Counter()
    for seed in range(2000):
        made = peers(10, gave=[9, 9, 9, 9])
        made[9].met_at = 0.0
        Choking(OPTIONS, random.Random(seed)).rechoke(made, NEWCOMER_S / 2, seed=False)
        count.update(set(served(made)) - {0, 1, 2, 3})
    others = sum(count[number] for number in range(4, 9)) / 5
    assert 2.2 < count[9] / others < 4.0


def test_who_wants_nothing_takes_no_place():
    made = peers(20, gave=[9] * 20)
    for peer in made[:10]:
        peer.interested = False
    Choking(OPTIONS, random.Random(1)).rechoke(made, 0.0, seed=False)
    assert all(number >= 10 for number in served(made))


def test_an_idle_link_serves_the_best_giver_that_is_choked():
    choking = Choking(OPTIONS, random.Random(1))
    made = peers(3)
    for peer in made:
        peer.choked = True
    made[1].gave = 7
    assert choking.spare(made, 0.0) is made[1]
    assert choking.spare(made, 0.0) in (made[0], made[2])
    choking.spare(made, 0.0)
    assert choking.spare(made, 0.0) is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=40), st.integers(0, 99))
def test_no_more_are_served_than_there_are_places_and_no_place_is_empty(kinds, seed):
    made = [Contender(0.0, interested=interested, gave=gave) for interested, gave in kinds]
    Choking(OPTIONS, random.Random(seed)).rechoke(made, 0.0, seed=False)
    wanting = sum(peer.interested for peer in made)
    places = OPTIONS.regular + OPTIONS.optimistic
    got = sum(peer.interested and not peer.choked for peer in made)
    assert got == (wanting if wanting < OPTIONS.choke_from else min(wanting, places))


class Unlucky(random.Random):
    """Always draws the first: without a rule, nobody else would ever be served in hope."""

    def choices(self, population, weights=None, *, cum_weights=None, k=1):
        return [population[0]]


@pytest.mark.parametrize("chance", [random.Random(1), random.Random(2), Unlucky(3)])
def test_everybody_has_a_turn_within_a_bounded_time_whatever_chance_does(chance):
    """Four give all the time and keep the regular places; one place in hope is left for all others, and for who comes later."""
    choking, made = Choking(OPTIONS, chance), peers(24, met_at=0.0)
    now, longest, late = 0.0, 0.0, None
    last = dict.fromkeys(map(id, made), 0.0)
    for step in range(400):
        now = step * RECHOKE_S
        if step == 100:
            late = Contender(now, interested=True)
            made.append(late)
            last[id(late)] = now
        for peer in made[:4]:
            peer.gave = 1_000_000
        choking.rechoke(made, now, seed=False)
        assert len(served(made)) == OPTIONS.regular + OPTIONS.optimistic
        for peer in made:
            if not peer.choked:
                last[id(peer)] = now
            longest = max(longest, now - last[id(peer)])
    waiting = len(made) - OPTIONS.regular - OPTIONS.optimistic
    assert longest <= TURN_S + OPTIMISTIC_S * waiting + RECHOKE_S
    assert last[id(late)] > late.met_at


def test_none_is_snubbed_while_anybody_answers_or_nothing_is_wanted():
    made = Scheduler(["a", "b"], now=0.0, rng=random.Random(1))
    a, b = made.sources
    assert not made.snubbed
    made.connected(a, 0.0, linked=True)
    made.choked(a, on=True)
    assert not made.snubbed  # nothing is wanted
    made.put("job", size=1)
    assert made.snubbed
    made.connected(b, 0.0, linked=True)
    assert not made.snubbed
    made.choked(b, on=True)
    assert made.snubbed
    made.gone(b, 0.0, "lost")
    made.gone(a, 0.0, "lost")
    assert not made.snubbed  # nobody is there: that is another matter
