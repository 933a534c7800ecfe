"""The scheduler among sources that say what they have: rarest first, endgame, stragglers, and when it gives up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheduling import SIZE, finish, has, swarm

from wherry.abc.exchange import HaveMap
from wherry.flow import FREE
from wherry.limits import WAIT_S
from wherry.stretches import Stretches
from wherry.transfer.availability import Availability, offers
from wherry.transfer.idle import reason_of
from wherry.transfer.scheduler import STAND_BACK_S
from wherry.transfer.source import Source, Task
from wherry.units import MiB


def test_a_source_is_asked_only_for_what_it_has():
    made, (a, b) = swarm("a", "b")
    made.have(a, 0.0, has(3))
    made.have(b, 0.0, has())
    assert made.take(a, 1.0).job == 3
    assert made.take(a, 1.0) is None
    assert made.take(b, 1.0) is None
    made.have(b, 1.0, has(5, 6), [(5 * SIZE, 7 * SIZE)])
    assert {made.take(b, 1.0).job, made.take(b, 1.0).job} == {5, 6}


def test_a_new_peer_is_asked_when_it_has_said_what_it_has():
    """Asked at once it would be asked for the wrong job, and one that shows its dataset by pieces lets that wait."""
    made, (a,) = swarm("a", jobs=4)
    assert made.take(a, 0.5) is None
    made.have(a, 0.5, has(2, choosy=True, complete=True))
    assert made.take(a, 0.5).job == 2


def test_a_peer_that_says_nothing_of_what_it_has_is_asked_after_a_moment():
    made, (a,) = swarm("a", jobs=4)
    assert made.take(a, 0.9) is None
    assert made.take(a, 1.1) is not None


def test_what_a_walk_waits_for_is_asked_of_a_new_peer_at_once():
    made, (a,) = swarm("a", jobs=4)
    made.put(99, urgent=True)
    assert made.take(a, 0.0).job == 99
    assert made.take(a, 0.0) is None


def test_what_fewest_have_is_asked_for_first():
    made, (a, b, c) = swarm("a", "b", "c", jobs=4)
    made.have(a, 0.0, has(0, 1, 2, 3))
    made.have(b, 0.0, has(0, 1, 3))
    made.have(c, 0.0, has(0, 1))
    assert [made.take(a, 1.0).job for _ in range(2)] == [2, 3]


def test_a_seed_is_asked_first_for_what_no_other_has():
    made, (seed, peer) = swarm("seed", "peer", jobs=3)
    made.have(seed, 0.0, has(complete=True))
    made.have(peer, 0.0, has(0, 2))
    assert made.take(seed, 1.0).job == 1


def test_one_that_is_choosy_is_asked_for_what_begins_in_its_stretches():
    made, (seed,) = swarm("seed", jobs=0)
    made.put("across", size=SIZE, spans=[(SIZE - 10, 2 * SIZE - 10)])
    made.put("behind", size=SIZE, spans=[(SIZE, 2 * SIZE)])
    made.have(seed, 0.0, HaveMap(Stretches([(0, SIZE)]), complete=True, choosy=True))
    assert made.take(seed, 1.0).job == "across"
    assert made.take(seed, 1.0) is None


def test_readers_get_jobs_in_order():
    made, (a, b) = swarm("a", "b", jobs=6, order="sequential")
    made.have(a, 0.0, has(1, 2, 4, 5))
    made.have(b, 0.0, has(1, 2, 3))
    assert [made.take(a, 1.0).job, made.take(b, 1.0).job, made.take(b, 1.0).job, made.take(a, 1.0).job] == [1, 2, 3, 4]


def test_who_fetch_the_same_begin_elsewhere():
    firsts = set()
    for seed in range(12):
        made, (a, b) = swarm("a", "b", jobs=32, seed=seed)
        made.have(a, 0.0, has(*range(32)))
        made.have(b, 0.0, has(*range(32)))
        firsts.add(made.take(a, 1.0).job)
    assert len(firsts) > 6


def test_a_manifest_node_is_asked_of_who_has_everything_and_else_of_anybody():
    made, (a, seed) = swarm("a", "seed", jobs=0)
    made.have(a, 0.0, has(1))
    made.have(seed, 0.0, has(complete=True))
    made.put("node", urgent=True)
    assert made.take(a, 1.0) is None
    task = made.take(seed, 1.0)
    made.absent(task, seed)
    made.done(seed, task, 1.0)
    assert made.take(a, 1.0) is task


def test_who_lacks_a_job_that_it_claimed_is_asked_again_when_it_has_more():
    made, (a,) = swarm("a", jobs=1)
    made.have(a, 1.0, has(0))
    task = made.take(a, 1.0)
    made.absent(task, a)
    made.done(a, task, 1.0)
    assert made.take(a, 1.0) is None
    made.have(a, 2.0, has(0, 1), [(SIZE, 2 * SIZE)])
    assert made.take(a, 2.0) is task


def test_who_chokes_is_not_asked_until_it_does_not():
    made, (a,) = swarm("a")
    made.have(a, 0.0, has(0, 1))
    made.choked(a, on=True)
    assert made.take(a, 1.0) is None
    made.choked(a, on=False)
    assert made.take(a, 1.0) is not None


def test_what_a_lost_source_had_counts_no_more():
    made, (a, b) = swarm("a", "b", jobs=2)
    made.have(a, 0.0, has(0))
    made.have(b, 0.0, has(0, 1))
    assert made.swarming
    made.gone(a, 1.0, "cut")
    made.gone(b, 1.0, "cut")
    assert not made.swarming
    assert all(task.copies == 0 for task in made._waiting)


def test_a_partial_source_is_waited_for_as_long_as_it_gets_more():
    made, (a,) = swarm("a", jobs=1)
    made.have(a, 10.0, has(5))
    assert made.verdict(10.0 + WAIT_S - 1) is None
    made.have(a, 40.0, has(5, 6), [(6 * SIZE, 7 * SIZE)])
    assert made.verdict(40.0 + WAIT_S - 1) is None
    assert made.verdict(40.0 + WAIT_S + 1).job == 0


# Hedging


def any_job(_job):
    return True


def two_at_the_end(rate_slow=1e5, rate_fast=1e7):
    made, (slow, fast) = swarm("slow", "fast", jobs=1)
    made.have(slow, 0.0, has(0))
    made.have(fast, 0.0, has())
    task = made.take(slow, 1.0)
    made.more = False
    slow.standing.rate, fast.standing.rate = rate_slow, rate_fast
    return made, slow, fast, task


def test_at_the_end_a_free_source_is_asked_for_what_a_slow_one_is_late_with():
    made, slow, fast, task = two_at_the_end()
    assert made.hedge(fast, 1.5, any_job) is None  # which does not have it
    made.have(fast, 1.0, has(0), [(0, SIZE)])
    assert made.hedge(fast, 1.5, any_job) is task
    assert made.hedge(fast, 1.5, any_job) is None
    finish(made, fast, task)
    made.again(task, slow)  # which was cancelled
    made.done(slow, task, 2.0)
    assert made.waiting == 1  # nobody said that the job is done; the fetcher knows
    assert made.under_way == 0


def test_one_of_two_that_fails_leaves_the_job_with_the_other():
    made, slow, fast, task = two_at_the_end()
    made.have(fast, 1.0, has(0), [(0, SIZE)])
    assert made.hedge(fast, 1.5, any_job) is task
    made.failed(task, slow, 2.0, "cut")
    made.done(slow, task, 2.0)
    assert made.waiting == 0
    made.failed(task, fast, 2.0, "cut")
    made.done(fast, task, 2.0)
    assert made.waiting == 1


def test_a_source_that_is_as_fast_is_not_doubled():
    made, _, fast, _ = two_at_the_end(rate_slow=1e7, rate_fast=1e7)
    made.have(fast, 1.0, has(0), [(0, SIZE)])
    assert made.hedge(fast, 1.02, any_job) is None


def test_before_the_end_only_stragglers_are_doubled():
    made, (a, b) = swarm("a", "b", jobs=2)
    made.have(a, 0.0, has(0, 1))
    made.have(b, 0.0, has(0))
    task = made.take(a, 1.0)
    other = made.take(a, 1.0)
    a.standing.rate = b.standing.rate = 1e6
    mine = task if task.job == 0 else other
    assert made.hedge(b, 3.0, any_job) is None  # it takes a second usually
    assert made.hedge(b, 8.0, any_job) is mine


def test_what_comes_twice_is_bounded():
    made, (slow, fast) = swarm("slow", "fast", jobs=8)
    made.came = 0
    made.have(slow, 0.0, has(*range(8)))
    slow.meter.add(1.0, 400 * MiB)
    tasks = [made.take(slow, 1.0) for _ in range(8)]
    assert all(tasks)
    made.more = False
    slow.standing.rate, fast.standing.rate = 1e4, 1e9
    made.have(fast, 1.0, has(*range(8)))
    fast.meter.add(1.0, 400 * MiB)
    hedged = 0
    while made.hedge(fast, 1.5, any_job) is not None:
        hedged += 1
    assert hedged == 4  # MiB, of a transfer that is so small
    made.twice(4 * MiB)
    assert made.wasted == 4 * MiB


# What is kept by differences is what counting anew gives

spans = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 6)), min_size=1, max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["put", "take", "learn", "gain", "forget"]), st.integers(0, 3), spans), max_size=40))
def test_copies_and_offers_are_those_of_a_count_from_scratch(steps):
    made = Availability()
    sources = [Source(str(number)) for number in range(4)]
    waiting = []
    for what, which, drawn in steps:
        source, where = sources[which], Stretches((start, start + size) for start, size in drawn)
        if what == "put":
            task = Task("job", spans=list(where))
            waiting.append(task)
            made.put(task)
        elif what == "take" and waiting:
            made.take(waiting.pop(which % len(waiting)))
        elif what == "learn":
            source.have = HaveMap(where)
            made.learn(source, None)
        elif what == "gain":
            before = source.have.spans.copy() if source.have is not None else Stretches()
            for start, end in where:
                before.add(start, end)
            source.have = HaveMap(before)
            made.learn(source, list(where))
        elif what == "forget":
            source.have = None
            made.forget(source)
        mapped = [one for one in sources if one.have is not None]
        for one in mapped:
            assert set(made.offered(one)) == {task for task in waiting if offers(one, task)}
        for task in waiting:
            assert task.copies == sum(offers(one, task) for one in mapped)


def test_rates_fade_and_a_source_that_gives_nothing_has_none():
    source = Source("a")
    source.meter.add(0.0, 1000)
    assert source.meter.rate(0.0) > source.meter.rate(1.0) > source.meter.rate(10.0)
    for tick in range(200):
        source.meter.add(tick / 10, 100)
    assert source.meter.rate(20.0) == pytest.approx(1000, rel=0.1)


# Deadlines of readers


def put_due(made, *deadlines):
    for deadline in deadlines:
        made.put(f"due {deadline}", urgent=True, size=SIZE, deadline=deadline)


def test_the_nearest_deadline_goes_first_and_behind_them_all_the_rarest():
    made, (seed, part) = swarm("seed", "part", jobs=3)
    made.have(seed, 0.0, has(complete=True))
    made.have(part, 0.0, has(0, 1))
    put_due(made, 9.0, 7.0, 8.0, 7.5)
    made.put("node", urgent=True)
    order = []
    for _ in range(6):
        task = made.take(seed, 2.0)
        order.append(task.job)
        finish(made, seed, task, 2.0)
    assert order == ["node", "due 7.0", "due 7.5", "due 8.0", "due 9.0", 2]  # the last is what nobody else has


def test_what_goes_back_keeps_its_deadline():
    made, (a, b) = swarm("a", "b", jobs=0)
    put_due(made, 3.0, 4.0, 5.0)
    task = made.take(a, 1.0)
    made.done(a, task, 1.0)
    made.absent(task, a)
    assert [made.take(b, 1.0).job, made.take(a, 1.0).job, made.take(b, 1.0).job] == ["due 3.0", "due 4.0", "due 5.0"]
    assert task.part("rest").deadline == 3.0


@given(st.lists(st.tuples(st.booleans(), st.one_of(st.just(float("inf")), st.floats(0, 100))), max_size=12), st.randoms())
def test_jobs_wait_in_the_order_of_their_deadlines_whatever_they_are_put_in(jobs, chance):
    made, _ = swarm("a", "b", jobs=0)
    chance.shuffle(jobs)
    for number, (urgent, deadline) in enumerate(jobs):
        made.put(number, urgent=urgent, size=SIZE, deadline=deadline)
    waiting = list(made._waiting)
    assert sorted(task.job for task in waiting) == list(range(len(jobs)))
    kinds = [2 if not task.urgent else 0 if task.deadline == float("inf") else 1 for task in waiting]
    assert kinds == sorted(kinds)
    due = [task.deadline for task, kind in zip(waiting, kinds, strict=True) if kind == 1]
    assert due == sorted(due)


def test_a_policy_is_shown_deadlines_in_their_order():
    made, (a, b) = swarm("a", "b", jobs=2)
    put_due(made, 5.0, 3.0, 4.0)
    shown = made._waiting.wanted_first([(a, 4), (b, 4)])
    assert [task.job for task in shown][:3] == ["due 3.0", "due 4.0", "due 5.0"]


def test_who_is_sent_on_comes_back_at_a_moment_by_chance_while_others_are_there():
    waits = []
    for seed in range(40):
        made, (origin, peer) = swarm("origin", "peer", seed=seed)
        made.have(peer, 0.0, has(1))
        waits.append(made.gone(origin, 5.0, "busy", busy=True))
        assert origin.busy_until == origin.rest_until == 5.0 + waits[-1]
        assert made.stands_by(origin)
        made.gone(peer, 6.0, "lost")
        assert not made.stands_by(origin)
    least, most = STAND_BACK_S
    assert least <= min(waits) < least + 2 < most - 2 < max(waits) <= most
    assert len(set(waits)) == len(waits)


def test_one_that_is_alone_or_only_lost_is_called_again_soon():
    made, (origin, peer) = swarm("origin", "peer")
    assert made.gone(origin, 5.0, "lost") <= 0.2
    made.connected(origin, 6.0, linked=True)
    made.gone(peer, 6.0, "lost")
    assert made.gone(origin, 7.0, "busy", busy=True) <= 0.4
    assert not origin.busy_until


def test_why_names_who_is_spared():
    made, (origin, peer) = swarm("origin", "peer", jobs=2)
    made.have(peer, 0.0, has())
    made.gone(origin, 5.0, "busy", busy=True)
    reason, detail = reason_of(made, FREE, 6.0, 0.0, seeking=False)
    assert reason == "no-provider"
    assert "origin has too much to do" in detail
    assert "block" in reason_of(made, FREE, 50.0, 0.0, seeking=False)[1]
