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


@pytest.mark.parametrize("policy", [None, Reputation(0.25)])
def test_a_seed_that_shows_nothing_more_is_asked_once_nobody_gets_on(policy):
    """What it shows is a wish: nobody waits for ever for what is there to be had."""
    made, (seed, peer) = swarm("seed", "peer", jobs=2, policy=policy)
    made.have(seed, 0.0, has(0, complete=True, choosy=True))
    made.have(peer, 0.0, has())
    task = made.take(seed, 1.0)
    assert made.take(seed, 1.0) is None
    finish(made, seed, task, 2.0)
    made.have(peer, 10.0, has(0))
    assert made.take(seed, 10.0 + UNSHOWN_S) is None
    assert made.take(peer, 10.0 + UNSHOWN_S + 1) is None  # which has it not
    last = made.take(seed, 10.0 + UNSHOWN_S + 1)
    assert last.job == 1
    made.absent(last, seed)
    made.done(seed, last, 50.0)
    assert made.take(seed, 100.0) is None
    assert made.verdict(100.0 + WAIT_S).job == 1
