"""The scheduler where a job waits that nobody seems to have: in parts, not shown, with one who chokes us or only promises."""

from __future__ import annotations

import pytest
from scheduling import SIZE, finish, has, swarm

from wherry.abc.exchange import HaveMap
from wherry.limits import WAIT_S
from wherry.stretches import Stretches
from wherry.transfer.hope import stale_s
from wherry.transfer.waiting import HOLDER_S, UNSHOWN_S
from wherry_policy.reputation import Reputation


def test_a_job_that_nobody_has_whole_is_asked_for_in_parts_after_a_while():
    made, (a,) = swarm("a", jobs=0)
    made.put("both", size=SIZE, spans=[(0, SIZE)], now=1.0)
    made.have(a, 1.0, HaveMap(Stretches([(0, 1000)])))
    assert made.take(a, 1.5) is None
    assert made.take(a, 2.5).job == "both"


@pytest.mark.parametrize("policy", [None, Reputation(0.25)])
def test_in_parts_also_of_several_whatever_a_policy_says(policy):
    made, (a, b) = swarm("a", "b", jobs=0, policy=policy)
    made.put("both", size=SIZE, spans=[(0, SIZE)], now=1.0)
    made.have(a, 1.0, HaveMap(Stretches([(0, 1000)])))
    made.have(b, 1.0, HaveMap(Stretches([(1000, SIZE)])))
    assert made.take(a, 1.5) is None
    assert made.take(b, 2.5).job == "both"


def test_what_a_policy_plans_for_one_who_has_it_is_not_asked_of_another_in_parts():
    """The other would have taken it away from under the plan."""
    for seed in range(20):
        made, (whole, part) = swarm("whole", "part", jobs=3, seed=seed, policy=Reputation(0.25))
        made.have(whole, 1.0, has(complete=True))
        made.have(part, 1.0, HaveMap(Stretches([(0, 1000)])))
        given = [made.take(source, 10.0) for source in (part, whole, whole, whole, part)]
        assert given[0] is given[-1] is None
        assert len({task.job for task in given[1:3]}) == 2


@pytest.mark.parametrize("policy", [None, Reputation(0.25)])
def test_in_parts_where_who_has_it_does_not_answer(policy):
    made, (whole, part) = swarm("whole", "part", jobs=1, policy=policy)
    made.have(whole, 1.0, has(complete=True))
    made.have(part, 1.0, HaveMap(Stretches([(0, 1000)])))
    assert made.take(part, 10.0) is None
    made.choked(whole, on=True)
    assert made.take(part, 20.0).job == 0


@pytest.mark.parametrize("policy", [None, Reputation(0.25)])
def test_a_seed_that_shows_nothing_more_is_asked_once_nothing_comes(policy):
    """What it shows is a wish: nobody waits for ever for what is there to be had, whatever others say meanwhile."""
    made, (seed, peer) = swarm("seed", "peer", jobs=2, policy=policy)
    made.have(seed, 0.0, has(0, complete=True, choosy=True))
    made.have(peer, 0.0, has())
    task = made.take(seed, 1.0)
    assert made.take(seed, 1.0) is None
    finish(made, seed, task, 2.0)
    for now in range(3, 2 + int(UNSHOWN_S)):
        made.have(peer, float(now), has(0))
        assert made.take(seed, float(now)) is None
        assert made.take(peer, float(now)) is None  # which has it not
    assert made.take(peer, 3.0 + UNSHOWN_S) is None
    last = made.take(seed, 3.0 + UNSHOWN_S)
    assert last.job == 1
    made.absent(last, seed)
    made.done(seed, last, 50.0)
    assert made.take(seed, 100.0) is None
    assert made.verdict(100.0 + WAIT_S).job == 1


WHOLE = HaveMap(Stretches(), complete=True)
POLICIES = [None, Reputation(0.25)]


def asked(made, since, until=5000.0):
    """Who is asked for what first, and when; or why it ends."""
    now = since
    while now < until:
        for source in made.sources:
            task = made.take(source, now) or made.hedge(source, now, lambda _: True)
            if task is not None:
                return source.address, task.job, now
        verdict = made.verdict(now)
        if verdict is not None:
            return verdict.kind, verdict.job, now
        now += 0.5
    return "nobody", None, until


@pytest.mark.parametrize("policy", POLICIES)
def test_what_one_failed_with_once_is_not_left_to_another_that_chokes_us(policy):
    made, (works, chokes) = swarm("works", "chokes", jobs=1, policy=policy)
    for source in made.sources:
        made.have(source, 0.0, WHOLE)
    task = made.take(works, 1.5)
    made.bad(task, works, 2.0, "a bit flipped", rejected=1)
    made.done(works, task, 2.0)
    made.succeeded(works, 5.0, 1, 1000)
    made.choked(chokes, on=True)
    assert asked(made, 16.0) == ("works", 0, 16.0)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_node_is_asked_of_who_has_a_part_where_who_has_all_chokes_us(policy):
    made, (seed, part) = swarm("seed", "part", jobs=0, policy=policy)
    made.have(seed, 0.0, WHOLE)
    made.have(part, 0.0, has(0, 1))
    made.put("node", urgent=True, now=1.0)
    made.choked(seed, on=True)
    assert asked(made, 2.0) == ("part", "node", 2.0)


@pytest.mark.parametrize("how", ["chokes", "has it not"])
@pytest.mark.parametrize("policy", POLICIES)
def test_who_only_claims_a_job_hides_neither_parts_nor_a_seed_that_does_not_show_it(policy, how):
    def claims(made, claimer, have):
        made.have(claimer, 0.0, have)
        if how == "chokes":
            made.choked(claimer, on=True)
        else:
            task = made.take(claimer, 1.5)
            made.absent(task, claimer)
            made.done(claimer, task, 2.0)

    made, (seed, claimer) = swarm("seed", "claimer", jobs=1, policy=policy)
    made.have(seed, 0.0, has(5, complete=True, choosy=True))
    claims(made, claimer, has(0))
    assert asked(made, 3.0) == ("seed", 0, UNSHOWN_S + 0.5)

    made, (half, claimer) = swarm("half", "claimer", jobs=1, policy=policy)
    made.have(half, 0.0, HaveMap(Stretches([(0, 1000)])))
    claims(made, claimer, has(0))
    assert asked(made, 3.0) == ("half", 0, 3.0)


@pytest.mark.parametrize("policy", POLICIES)
def test_one_wrong_answer_does_not_bar_a_seed_from_what_it_does_not_show(policy):
    made, (seed,) = swarm("seed", jobs=1, policy=policy)
    made.have(seed, 0.0, has(5, complete=True, choosy=True))
    task = made.take(seed, UNSHOWN_S + 1)
    made.bad(task, seed, UNSHOWN_S + 2, "a bit flipped", rejected=1)
    made.done(seed, task, UNSHOWN_S + 2)
    assert asked(made, UNSHOWN_S + 3)[:2] == ("seed", 0)


def test_who_says_the_same_again_and_again_gives_no_hope():
    made, (part,) = swarm("part", jobs=1)

    def told_at(now):
        made.have(part, now, has(5))
        return made.verdict(now + 19.9)

    assert [told_at(20.0 * turn) for turn in range(3)] == [None] * 3
    assert told_at(80.0).kind == "absent"  # it has a part, and this is not in it


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("how", ["chokes", "promises"])
def test_to_whom_nothing_comes_for_twenty_times_the_wait_it_ends(policy, how):
    """However much is promised. A turn among many may take minutes; for ever is not one."""
    made, (a, b) = swarm("a", "b", jobs=1, policy=policy)
    for source in (a, b):
        made.have(source, 0.0, WHOLE if how == "chokes" else has())
        made.choked(source, on=how == "chokes")
    for second in range(int(stale_s(WAIT_S))):
        assert made.take(a, float(second)) is None
        assert made.verdict(float(second)) is None
        if how == "promises":
            made.have(b, float(second), HaveMap(Stretches([(8 * SIZE, 8 * SIZE + second)])))
    assert made.verdict(stale_s(WAIT_S) + 2.0).kind == "stale"
    assert stale_s(1.0) >= 2 * WAIT_S


def test_while_somebody_works_it_does_not_end():
    made, (a, b) = swarm("a", "b", jobs=2)
    made.choked(b, on=True)
    made.take(a, 2.0)
    assert made.verdict(2 * stale_s(WAIT_S)) is None  # who is asked has a bound of its own, and a limited link takes its time


def choked_while_asked(made, source, now):
    """A source takes a job, and refuses it by a choke; gives the job."""
    task = made.take(source, now)
    made.choked(source, on=True)
    made.refused(task, source, now)
    made.done(source, task, now)
    return task


def test_what_is_refused_by_a_choke_is_no_fault():
    made, (a,) = swarm("a", jobs=1)
    task = choked_while_asked(made, a, 3.0)
    assert made.take(a, 4.0) is None
    made.choked(a, on=False)
    assert made.verdict(3.0 + 2 * WAIT_S) is None
    assert a.failures == 0
    assert made.take(a, 3.0 + 2 * WAIT_S) is task


def test_one_that_chokes_and_answers_by_turns_is_not_asked_all_the_time():
    made, (a,) = swarm("a", jobs=1)
    asked_times, now = 0, 2.0
    while now < 12.0:
        task = made.take(a, now)
        if task is not None:
            asked_times += 1
            made.refused(task, a, now)
            made.done(a, task, now)
        now += 0.01
    assert asked_times <= 21


def test_whom_all_choke_but_who_has_nothing_looks_for_others():
    made, (seed, useless) = swarm("seed", "useless", jobs=1)
    made.have(seed, 0.0, WHOLE)
    made.have(useless, 0.0, has(7))
    made.choked(seed, on=True)
    assert made.snubbed
    made.have(useless, 1.0, has(0, 7))
    assert not made.snubbed


@pytest.mark.parametrize("policy", POLICIES)
def test_a_fast_one_with_parts_does_not_idle_for_long_beside_a_slow_one_that_has_all(policy):
    made, (slow, fast) = swarm("slow", "fast", jobs=4, policy=policy)
    made.have(slow, 1.0, WHOLE)
    made.have(fast, 1.0, HaveMap(Stretches([(job * SIZE, job * SIZE + SIZE // 2) for job in range(4)])))
    while made.take(slow, 2.0) is not None:
        pass
    assert made.take(fast, HOLDER_S) is None
    assert made.take(fast, HOLDER_S + 1.0) is not None


def test_one_that_lost_what_it_had_and_gets_it_again_is_waited_for_and_asked():
    made, (part,) = swarm("part", jobs=2)
    made.have(part, 0.0, has(0, 5, 6, 7))
    task = made.take(part, 1.0)
    made.absent(task, part)
    made.done(part, task, 1.0)
    made.have(part, 10.0, has())
    for turn in range(4):
        made.have(part, 20.0 * (turn + 1), has(*range(5, 5 + turn)))
        assert made.verdict(20.0 * (turn + 1) + 19.0) is None
    made.have(part, 100.0, has(0, 5, 6, 7))
    assert made.take(part, 100.0) is task


def test_a_connection_that_is_lost_after_a_choke_counts_as_lost_then():
    made, (a,) = swarm("a", jobs=1)
    choked_while_asked(made, a, 100.0)
    made.gone(a, 100.4, "cut")
    assert a.failures == 1
    assert made.verdict(100.4 + WAIT_S - 1.0) is None
    assert made.verdict(100.4 + WAIT_S + 1.0).kind == "lost"


def test_a_choke_after_a_fault_is_waited_for_as_any():
    made, (a,) = swarm("a", jobs=1)
    task = made.take(a, 2.0)
    made.failed(task, a, 2.0, "it was full")
    made.done(a, task, 2.0)
    made.choked(a, on=True)
    assert made.verdict(2.0 + 3 * WAIT_S) is None
    assert made.verdict(3.0 + stale_s(WAIT_S)).kind == "stale"
