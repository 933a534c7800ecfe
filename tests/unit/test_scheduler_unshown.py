"""The scheduler where a job waits for which no source's map asks: parts of it are there, or a seed does not show it."""

from __future__ import annotations

import pytest
from scheduling import SIZE, finish, has, swarm

from wherry.abc.exchange import HaveMap
from wherry.limits import WAIT_S
from wherry.stretches import Stretches
from wherry.transfer.waiting import UNSHOWN_S
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
