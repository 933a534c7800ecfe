"""Showing a complete dataset piece by piece (super-seeding, specs/0025 §4; BEP 16)."""

from __future__ import annotations

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from links import have, spans

from wherry.abc.exchange import HaveMap
from wherry.stretches import Stretches
from wherry.swarm.reveal import EXTRA_PART, OVERDUE_S, OVERDUE_TIMES, STALL_S, STALL_TIMES, UNITS_MAX, WINDOW, Reveal
from wherry.units import GiB, MiB


def revealed(units, followers, *, seed=1):
    made = Reveal(units * MiB, random.Random(seed))
    return made, [made.join(None, 0.0) for _ in range(followers)]


def shown_units(shown):
    return {start // MiB + at for start, end in shown.spans for at in range((end - start) // MiB)}


def test_each_follower_is_shown_something_else_at_first():
    made, followers = revealed(64, 4)
    for shown in followers:
        made.onward(shown, 0.0)
    units = [shown_units(shown) for shown in followers]
    assert all(len(few) == WINDOW for few in units)
    assert len(set().union(*units)) == 4 * WINDOW
    assert made.left == 64 - 4 * WINDOW


def test_who_has_what_it_was_shown_is_shown_more():
    made, (a, _) = revealed(16, 2)
    made.onward(a, 0.0)
    first = shown_units(a)
    assert made.onward(a, 0.0) == []
    assert made.has(a, have(*first), 1.0)
    assert made.onward(a, 1.0)
    assert len(shown_units(a) - first) == WINDOW


def test_two_that_cannot_reach_each_other_keep_what_they_have_for_a_while_only():
    """Each passes it on to others, of whom this node hears nothing (a swarm in two parts)."""
    made, followers = revealed(64, 2)
    now = 0.0
    while made.left:
        for shown in followers:
            made.onward(shown, now)
            made.has(shown, have(*shown_units(shown)), now)
        if made.left and all(shown.keeps for shown in followers):
            assert made.again(now + STALL_S / 2) == []
            now += 60.0
            made.again(now)
            assert not any(shown.keeps for shown in followers)
    assert now > 0.0
    assert set().union(*map(shown_units, followers)) == set(range(64))


def test_a_unit_is_had_when_all_that_begins_in_it_is():
    made, (a, _) = revealed(4, 2)
    made.onward(a, 0.0)
    unit = min(a.pending)
    assert not made.has(a, HaveMap(Stretches([(unit * MiB, (unit + 1) * MiB - 1)])), 1.0)
    assert made.has(a, HaveMap(Stretches([(unit * MiB, (unit + 1) * MiB)])), 2.0)


def test_a_large_dataset_has_no_more_units():
    made = Reveal(1024 * GiB, random.Random(1))
    assert made.count <= UNITS_MAX
    assert made.count * made.unit >= made.size


def test_what_only_one_that_is_gone_was_shown_is_shown_to_others():
    made, (a, b) = revealed(2 * WINDOW, 2)
    made.onward(a, 0.0)
    made.onward(b, 0.0)
    assert made.left == 0
    made.leave(a)
    assert made.left == WINDOW
    made.has(b, have(*shown_units(b)), 1.0)
    made.onward(b, 1.0)
    assert shown_units(b) == set(range(2 * WINDOW))


def test_what_others_brought_is_not_shown_again():
    made, (a, b) = revealed(8, 2)
    made.refresh(a, have(*range(7)), 0.0)
    made.onward(b, 0.0)
    assert 7 in shown_units(b)
    assert made.left == 0


def test_who_comes_with_a_part_is_shown_what_nobody_has():
    made, _ = revealed(4, 1)
    late = made.join(have(0, 1, 2), 1.0)
    made.onward(late, 1.0)
    assert shown_units(late) == {3}


def test_who_has_everything_is_done():
    made, (a, _) = revealed(8, 2)
    made.has(a, have(complete=True), 1.0)
    assert a.done
    assert made.onward(a, 1.0) == []
    assert made.left == 0
    assert not made.has(a, have(complete=True), 1.0)
    made.leave(a)
    assert made.left == 8


def test_who_is_alone_is_shown_everything_until_another_comes():
    made, (a,) = revealed(8, 1)
    assert made.alone() == [a]
    assert a.open
    assert made.alone() == []
    b = made.join(None, 1.0)
    assert made.alone() == [a]
    assert not a.open
    assert not b.open
    made.leave(b)
    assert made.alone() == [a]


def test_those_whom_nobody_can_call_are_shown_everything_unless_one_listens():
    """Such as plain gets: they can bring each other nothing, and by turns they would wait for that in vain."""
    made, _ = revealed(8, 0)
    a, b = (made.join(None, 0.0, listens=False) for _ in range(2))
    assert made.alone() == [a, b]
    assert a.open
    assert b.open
    c = made.join(None, 1.0, listens=True)
    assert made.alone() == [a, b]
    assert not any(shown.open for shown in (a, b, c))
    made.leave(a)
    made.leave(b)
    assert made.alone() == [c]


def test_a_fast_one_is_shown_more_at_a_time_while_the_link_idles():
    made, (a, _) = revealed(64, 2)
    made.onward(a, 0.0)
    assert not made.sent(a, WINDOW * MiB, 0.5, idle=False)
    assert made.sent(a, 0, 0.5, idle=True)
    assert len(made.onward(a, 1.0)) >= 1
    assert len(a.pending) == 2 * WINDOW


def test_one_that_takes_and_says_nothing_is_found_out():
    made, (a, b) = revealed(8, 2)
    for shown in (a, b):
        made.onward(shown, 0.0)
    made.sent(a, 2 * MiB, 1.0, idle=False)
    assert not made.mute(a, 3.0)  # it may be on the way
    assert made.mute(a, 5.0)
    assert not made.mute(b, 5.0)  # it took nothing
    made.has(a, have(0), 5.0)
    assert not made.mute(a, 9.0)


def test_what_nobody_has_yet_is_shown_to_another_when_it_is_late():
    made, (a, b) = revealed(2, 2)
    made.onward(a, 0.0)
    made.has(b, have(), 0.0)
    made._takes_s = OVERDUE_S / OVERDUE_TIMES
    assert made.left == 0
    assert made.again(OVERDUE_S / 2) == []
    told = made.again(OVERDUE_S)
    assert [one for one, _ in told] == [b]
    assert shown_units(b)


def test_who_stalls_is_shown_what_it_lacks_whatever_it_costs():
    made, (a, b) = revealed(64, 2)
    made.has(a, have(complete=True), 0.0)
    made._extra = 64
    made._takes_s = STALL_S / STALL_TIMES
    assert made.again(STALL_S / 2) == []
    assert [one for one, _ in made.again(2 * STALL_S)] == [b]


def test_what_a_peer_claims_beyond_the_end_costs_nothing():
    """A stretch of an exabyte would be a million million units."""
    made, (a, _) = revealed(4, 2)
    made.onward(a, 0.0)
    far = [(0, 1 << 60), (1 << 61, 1 << 62)]
    made.has(a, HaveMap(Stretches(far)), 1.0, far)
    assert set(a.state) == {2}
    assert made._had == [1] * 4


def test_slow_is_not_stalled():
    """Where a unit takes long, whoever waits for one is not shown others."""
    made, (a, b) = revealed(64, 2)
    made.has(a, have(complete=True), 0.0)
    made._extra = 64
    made._takes_s = 10.0
    assert made.again(STALL_TIMES * 10.0 - 1.0) == []
    assert [one for one, _ in made.again(STALL_TIMES * 10.0 + 1.0)] == [b]


def fed(made, shown, unit, now, owned):
    """A follower gets a unit and says so."""
    owned.add(unit)
    return made.has(shown, have(*owned), now, [(unit * MiB, (unit + 1) * MiB)])


def test_who_passes_nothing_on_is_shown_no_more():
    """BEP 16: another unit only when another peer has the one before; a few may be on the way."""
    made, (taker, giver) = revealed(64, 2)
    made.onward(taker, 0.0)
    taken, given = set(), set()
    for turn in range(10):
        for unit in list(taker.pending):
            fed(made, taker, unit, float(turn), taken)
        made.onward(taker, float(turn))
    assert len(taken) == 2 * WINDOW
    for unit in sorted(taken)[:WINDOW]:
        assert fed(made, giver, unit, 20.0, given) == [taker]  # who brought it may be shown more
    assert taker.gave
    made.onward(taker, 20.0)
    assert taker.pending


def test_what_only_such_have_as_give_nothing_is_as_good_as_lost():
    made, (stingy, honest, other) = revealed(6, 3)
    taken = set()
    for shown in (stingy, honest, other):
        made.onward(shown, 0.0)
    mine = set(stingy.pending)
    for unit in mine:
        fed(made, stingy, unit, 1.0, taken)
    for shown in (honest, other):
        got = set()
        for unit in list(shown.pending):
            fed(made, shown, unit, 1.0, got)
    for late in (honest, other):
        late.gave = True
    assert made.left == 0
    made._extra = 99
    made._takes_s = 0.1
    for shown in made.followers:
        shown.gained_at = 10.0
    told = made.again(10.0)
    assert stingy.stingy
    assert {id(shown) for shown, _ in told} <= {id(honest), id(other)}
    again = [start // MiB for _, some in told for start, end in some for start in range(start, end, MiB)]
    assert sorted(again) == sorted(mine)  # each once: whoever gets it first brings it to the others


def test_shown_beyond_the_first_copy_is_what_fewest_have_and_only_so_much():
    made, followers = revealed(100, 10)
    made.has(followers[0], have(complete=True), 0.0)
    for shown in followers[1:]:
        made.refresh(shown, have(*range(50)), 0.0)
        shown.gained_at = 1000.0
    for turn in range(100):
        for shown, _ in made.again(1000.0):
            assert shown_units(shown) <= set(range(50, 100))
            made.has(shown, HaveMap(Stretches([*shown.spans, (0, 50 * MiB)])), 1000.0 + turn / 100)
    assert made._extra <= EXTRA_PART * 100 + WINDOW


@settings(max_examples=30)
@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 9999))
def test_everybody_gets_everything_and_about_one_copy_is_shown(count, units, seed):
    """Followers that take what they are shown, and pass it on: nobody starves, and the budget holds."""
    rng = random.Random(seed)
    made, followers = revealed(units, count, seed=seed)
    owned = [set() for _ in followers]
    sent = 0
    for step in range(40 * units + 400):
        now = step / 10
        number = rng.randrange(count)
        mine = owned[number]
        shown = followers[number]
        made.onward(shown, now)
        offered = [unit for unit in shown.pending if unit not in mine]
        others = set().union(*(theirs for other, theirs in enumerate(owned) if other != number)) - mine
        if others:
            mine.add(rng.choice(sorted(others)))
        if offered and (not others or rng.random() < 0.5):
            mine.add(offered[0])
            sent += 1
        made.has(shown, have(*mine, complete=len(mine) == units), now)
        made.refresh(shown, have(*mine, complete=len(mine) == units), now)
        if not made.left:
            made.again(now)
        if all(len(theirs) == units for theirs in owned):
            break
    assert all(len(theirs) == units for theirs in owned)
    assert sent <= (1 + EXTRA_PART) * units + WINDOW * count


@settings(max_examples=30)
@given(st.integers(2, 4), st.lists(st.integers(1, MiB), min_size=1, max_size=24), st.integers(0, 9999))
def test_nobody_starves_where_jobs_are_of_any_size_and_some_are_here_already(count, sizes, seed):
    """After gets that were interrupted: several jobs begin in one unit, and who has the last of them may lack another."""
    rng = random.Random(seed)
    ends = list(itertools.accumulate(sizes))
    jobs = list(zip([0, *ends], ends, strict=False))
    made = Reveal(ends[-1], random.Random(seed))
    owned = [set(rng.sample(jobs, rng.randrange(len(jobs) + 1))) for _ in range(count)]
    followers = [made.join(HaveMap(Stretches(mine)), 0.0) for mine in owned]
    for step in range(8 * len(jobs) + 8):
        now = step * STALL_TIMES * 10.0  # so that whoever gained nothing has stalled
        for number, (shown, mine) in enumerate(zip(followers, owned, strict=True)):
            made.onward(shown, now)
            elsewhere = set().union(*(theirs for other, theirs in enumerate(owned) if other != number))
            offered = [job for job in jobs if job not in mine and (job in elsewhere or shown.spans.covers(job[0], job[0] + 1))]
            mine.update(rng.sample(offered, min(1, len(offered))))
            said = HaveMap(Stretches(mine), complete=len(mine) == len(jobs))
            made.has(shown, said, now)
            made.refresh(shown, said, now)
        made.again(now)
    assert all(len(mine) == len(jobs) for mine in owned)


def test_a_job_before_the_end_of_a_unit_is_shown_to_who_stalls():
    """Both have what ends the second unit, and not what begins it; the end of a file is such a job."""
    made = Reveal(3 * MiB, random.Random(1))
    said = HaveMap(Stretches([(0, MiB), (MiB + 10, 3 * MiB)]))
    a, b = made.join(said, 0.0), made.join(said, 0.0)
    made.refresh(a, said, 1.0)
    assert made.again(1.0) == []
    assert {id(one): told for one, told in made.again(100.0)} == {id(a): [(MiB, 2 * MiB)]}
    assert {id(one): told for one, told in made.again(200.0)} == {id(b): [(MiB, 2 * MiB)]}  # if it was of no use to a
    for shown in (a, b):
        made.refresh(shown, said, 201.0)
    assert made.again(300.0) == []  # each was told: it asks


@given(
    st.lists(
        st.tuples(st.sampled_from(["join", "leave", "onward", "has", "refresh", "again", "sent"]), st.integers(0, 4)),
        max_size=60,
    )
)
def test_whatever_happens_copies_add_up(acts):
    made = Reveal(6 * MiB, random.Random(1))
    rng = random.Random(2)
    for now, (act, number) in enumerate(acts):
        if act == "join":
            made.join(have(*range(number)), now)
            made.alone()
        elif act == "again":
            made.again(now)
        elif made.followers:
            shown = made.followers[number % len(made.followers)]
            if act == "leave":
                made.leave(shown)
                made.alone()
            elif act == "onward":
                made.onward(shown, now)
            elif act == "sent":
                made.sent(shown, MiB, now, idle=True)
            else:
                said = HaveMap(spans(*rng.sample(range(6), 3)), complete=number == 4)
                made.has(shown, said, now) if act == "has" else made.refresh(shown, said, now)
        copies = [sum(shown.state[unit] != 0 for shown in made.followers) for unit in range(6)]
        assert made._copies == copies
        assert made._had == [sum(shown.state[unit] == 2 for shown in made.followers) for unit in range(6)]
        assert made.left == copies.count(0)
    for shown in list(made.followers):
        made.leave(shown)
    assert made.left == made.count
