"""The fence around a policy: what it may say, and what becomes of one that says something else."""

from __future__ import annotations

import random

import pytest

from wherry.abc.policy import Assignment, JobView, PeerView, Policy, SwarmView
from wherry.limits import POLICY_IDLE_S
from wherry.transfer.choice import Choice, lonely


class Says(Policy):
    """Says what it is told to; each answer is a plan, or called for one."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def plan(self, view, rng):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer() if callable(answer) else answer


def peer(slots=1, working=0):
    return PeerView("http://a:1", False, slots, working, 0.0, 0.0, 0.5)


def view(peers, *able, now=0.0):
    return SwarmView(now, peers, [JobView(1, False, 0.0, frozenset(one)) for one in able])


class Fenced:
    def __init__(self, *answers):
        self.now = 0.0
        self.complaints = []
        self.choice = Choice(Says(*answers), random.Random(1), lambda: self.now, self.complaints.append, "the policy 'mine'")


TWO = view([peer(), peer(slots=2)], {0, 1}, {1}, {1})


def test_a_plan_that_the_view_allows_is_taken():
    fenced = Fenced([Assignment(1, 1), (0, 0), [2, 1]])
    assert fenced.choice.plan(TWO) == [(1, 1), (0, 0), (2, 1)]
    assert fenced.complaints == []


def raises():
    raise KeyError("a bug")


def endless():
    while True:
        yield (0, 0)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (raises, "raised KeyError"),
        (None, "raised TypeError"),
        (7, "raised TypeError"),
        ([None], "raised TypeError"),
        ([(0,)], "raised ValueError"),
        ([(0, 0, 0)], "raised ValueError"),
        ([("0", 0)], "there is not"),
        ([(True, 0)], "there is not"),
        ([(3, 0)], "there is not"),
        ([(0, 2)], "there is not"),
        ([(-1, 0)], "there is not"),
        ([(0, -1)], "there is not"),
        ([("x" * 1000, 0)], "there is not"),
        ([(0, 0), (0, 1)], "a job twice"),
        (endless, "a job twice"),
        ([(1, 1), (2, 1), (0, 1)], "more than a peer has slots for"),
        ([(1, 0)], "a wrong peer"),
    ],
)
def test_a_policy_that_says_anything_else_is_left_out_and_that_is_said_once(answer, fault):
    fenced = Fenced(answer, [(0, 0)])
    assert fenced.choice.plan(TWO) is None
    assert fenced.choice.out
    assert len(fenced.complaints) == 1
    assert fault in fenced.complaints[0]
    assert fenced.complaints[0].startswith("the policy 'mine' ")
    assert len(fenced.complaints[0]) < 300


def test_a_job_that_waits_for_nobody_ends_the_policys_rule_after_a_while():
    fenced = Fenced([])
    for now in (10.0, 10.0 + POLICY_IDLE_S - 0.01):
        assert fenced.choice.plan(view([peer()], {0}, now=now)) == []
    assert fenced.choice.plan(view([peer()], {0}, now=10.0 + POLICY_IDLE_S)) is None
    assert "to nobody" in fenced.complaints[0]


def test_the_while_begins_again_when_something_was_given():
    fenced = Fenced([], [], [(0, 0)], [])
    for now in (0.0, 1.5, 1.9, 2.1, 4.0):
        assert fenced.choice.plan(view([peer()], {0}, now=now)) is not None
    assert fenced.choice.plan(view([peer()], {0}, now=4.2)) is None


def test_waiting_for_one_who_works_is_allowed_for_ever():
    fenced = Fenced([])
    for now in range(100):
        assert fenced.choice.plan(view([peer(), peer(slots=0, working=1)], {0, 1}, now=float(now))) == []


def test_a_policy_that_takes_much_of_the_time_is_left_out():
    def slow(by):
        def answer():
            fenced.now += by
            return [(0, 0)]

        return answer

    fenced = Fenced(slow(0.1))
    plans = [fenced.choice.plan(view([peer()], {0}, now=fenced.now)) for _ in range(12)]
    assert None in plans[9:]  # a second, all of the time
    assert "took" in fenced.complaints[0]

    fenced = Fenced(slow(0.1))
    for _ in range(100):
        fenced.now += 1.0
        assert fenced.choice.plan(view([peer()], {0}, now=fenced.now)) is not None


@pytest.mark.parametrize(
    ("peers", "able", "pairs", "found"),
    [
        ([peer()], [{0}], [], 0),
        ([peer()], [{0}], [(0, 0)], None),
        ([peer()], [{0}, {0}], [(0, 0)], None),  # no slot is left
        ([peer(), peer()], [{0}, {0, 1}], [(0, 0)], None),  # peer 0 works then
        ([peer(), peer()], [{0}, {1}], [(0, 0)], 1),
        ([peer(slots=0)], [{0}], [], None),
        ([peer(), peer(slots=0, working=1)], [{0, 1}], [], None),
        ([peer(), peer(slots=0, working=1)], [{0}], [], 0),
        ([peer()], [set()], [], None),
    ],
)
def test_a_job_is_lonely_if_someone_is_free_for_it_and_nobody_of_its_peers_works(peers, able, pairs, found):
    assert lonely(view(peers, *able), pairs) == found
