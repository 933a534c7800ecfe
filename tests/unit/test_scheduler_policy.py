"""The scheduler and a policy: what it is shown, and that it is obeyed as far as the scheduler's own rules allow."""

from __future__ import annotations

import random

import pytest

from wherry.abc.policy import Assignment, Policy
from wherry.limits import POLICY_IDLE_S, POLICY_JOBS_MAX
from wherry.transfer.choice import Choice
from wherry.transfer.scheduler import Scheduler


class Told(Policy):
    """Plans with the function that it is given, and remembers the views."""

    def __init__(self, plan):
        self.views = []
        self._plan = plan

    def plan(self, view, rng):
        self.views.append(view)
        return self._plan(view)


def to_the_last(view):
    """Gives everything to the last peer, as far as its slots go."""
    last = len(view.peers) - 1
    may = [job for job, seen in enumerate(view.jobs) if last in seen.peers]
    return [Assignment(job, last) for job in may[: view.peers[last].slots]]


def scheduler(plan, *addresses):
    complaints = []
    policy = Told(plan)
    made = Scheduler(
        list(addresses), now=0.0, rng=random.Random(1), choice=Choice(policy, random.Random(1), lambda: 0.0, complaints.append)
    )
    return made, policy, complaints


def proven(made, *sources):
    for source in sources:
        made.connected(source, 0.0, 4)
        made.succeeded(source, 0.0, 1, 100)


def test_it_is_obeyed():
    made, policy, _ = scheduler(to_the_last, "http://a:1", "http://b:1")
    a, b = made.sources
    proven(made, a, b)
    for job in "wxyz":
        made.put(job, size=7, now=0.0)
    assert made.take(a, 1.0) is None
    assert [made.take(b, 1.0).job for _ in range(4)] == list("wxyz")
    assert len(policy.views) == 1  # one plan for all of that


def test_it_sees_what_is_known():
    made, policy, _ = scheduler(to_the_last, "http://a:1", "http://10.0.0.1:1", "http://gone:1", "http://denied:1")
    a, b, _gone, denied = made.sources
    proven(made, a, b)
    made.gone(denied, 0.0, "401", for_good=True)
    made.put("x", size=1000, now=0.0)
    made.put("node", urgent=True, now=2.0)
    made.more = False
    task = made.take(b, 5.0)
    assert task.job == "node"
    made.succeeded(b, 5.1, 1, 1000, task)
    made.done(b, task, 5.5)
    task = made.take(b, 6.0)
    made.bad(task, b, 6.0, "wrong", rejected=3)
    made.done(b, task, 6.0)
    made.take(a, 6.0)
    first, last = policy.views[0], policy.views[-1]
    assert (first.now, first.more) == (5.0, False)
    assert [(job.bytes, job.urgent, job.age_s, job.peers) for job in first.jobs] == [
        (0, True, 3.0, frozenset({0, 1})),
        (1000, False, 5.0, frozenset({0, 1})),
    ]
    assert [(peer.address, peer.local, peer.slots, peer.score) for peer in first.peers] == [
        ("http://a:1", False, 4, 0.5),
        ("http://10.0.0.1:1", True, 4, 0.5),
    ]
    seen = last.peers[1]
    assert (seen.slots, seen.jobs, seen.bytes, seen.failures, seen.rejected) == (0, 2, 1100, 1, 3)
    assert seen.rate == pytest.approx(2000.0)
    assert seen.latency_s == pytest.approx(0.1)
    assert seen.score < first.peers[1].score
    assert last.jobs[0].peers == {0}  # who sent it wrong is not asked while another is there


def test_where_one_source_is_there_it_is_not_asked():
    made, policy, _ = scheduler(lambda view: [], "http://a:1", "http://b:1")
    a, b = made.sources
    proven(made, a)
    made.put("x")
    assert made.take(a, 0.0).job == "x"
    assert policy.views == []
    proven(made, b)
    made.put("y")
    assert made.take(b, 0.0) is None
    made.gone(b, 0.0, "cut")
    assert made.take(a, 0.0).job == "y"


def test_a_source_that_alone_is_free_goes_on_without_a_question():
    """That is how nearly every job of a steady transfer is given."""
    made, policy, _ = scheduler(lambda view: [(n, n % 2) for n in range(min(8, len(view.jobs)))], "http://a:1", "http://b:1")
    a, b = made.sources
    proven(made, a, b)
    for job in range(16):
        made.put(job)
    busy = [(source, made.take(source, 0.0)) for source in (a, b) * 4]
    assert len(policy.views) == 1
    for number in range(20):
        source, task = busy.pop(0)
        now = 0.01 * number
        made.succeeded(source, now, 1, 100, task)
        made.done(source, task, now)
        made.put(number)
        busy.append((source, made.take(source, now)))
    assert all(task is not None for _, task in busy)
    assert len(policy.views) == 1
    source, task = busy.pop(0)
    made.failed(task, source, 0.2, "cut")
    made.done(source, task)
    other, task = busy.pop(0)
    made.done(other, task, 0.2)
    made.take(other, 0.2)
    assert len(policy.views) == 2  # a failure ends it


def test_one_that_was_spared_is_not_given_a_job_unasked():
    made, policy, _ = scheduler(lambda view: [(0, 0)] if view.peers[0].slots else [], "http://a:1", "http://b:1")
    a, b = made.sources
    proven(made, a, b)
    for job in range(16):
        made.put(job)
    for _ in range(4):
        made.take(a, 0.0)
    assert a.working == 1  # all that the policy gave it
    before = len(policy.views)
    a.parallel = 1
    assert made.take(b, 0.3) is None
    assert len(policy.views) == before + 1


def test_an_unproven_source_has_one_job_whatever_it_says():
    made, policy, complaints = scheduler(to_the_last, "http://a:1", "http://b:1")
    a, b = made.sources
    for source in (a, b):
        made.connected(source, 0.0, 4)
    for job in "xyz":
        made.put(job)
    assert made.take(b, 0.0).job == "x"
    assert made.take(b, 0.0) is None
    assert [peer.slots for peer in policy.views[0].peers] == [1, 1]
    assert complaints == []


def test_a_source_that_rests_is_given_nothing_and_something_when_it_has_rested():
    made, _, complaints = scheduler(to_the_last, "http://a:1", "http://b:1")
    a, b = made.sources
    proven(made, a, b)
    made.put("x")
    task = made.take(b, 0.0)
    made.failed(task, b, 0.0, "cut")
    made.done(b, task)
    made.put("y")
    assert made.take(b, b.rest_until - 0.01) is None
    assert made.take(a, b.rest_until - 0.01) is None  # the policy gives everything to b, which has no slots
    assert made.take(b, b.rest_until).job == "y"
    assert complaints == []


def test_a_job_that_a_source_failed_with_is_for_others_while_they_do_not_fail():
    """Else a policy could ask one source for ever, and another, which nobody asks, would be hoped for as long."""
    made, policy, complaints = scheduler(to_the_last, "http://a:1", "http://b:1")
    a, b = made.sources
    proven(made, a, b)
    made.put("x")
    task = made.take(b, 0.0)
    made.failed(task, b, 0.0, "cut")
    made.done(b, task)
    now = b.rest_until + 0.1
    assert made.take(b, now) is None
    assert policy.views[-1].jobs[0].peers == {0}
    assert made.take(a, now + POLICY_IDLE_S + 0.3).job == "x"  # which this policy never gives it
    assert len(complaints) == 1


def test_it_sees_no_job_that_nobody_may_be_given_now_and_not_too_many():
    made, policy, _ = scheduler(lambda view: [], "http://a:1", "http://b:1")
    a, b = made.sources
    proven(made, a, b)
    for job in range(POLICY_JOBS_MAX + 10):
        made.put(job)
    for _ in range(4):
        made.take(a, 0.0)
    nobodys = made._waiting.first
    nobodys.absent |= {a.number, b.number}
    made.take(a, 1.0)
    assert len(policy.views[-1].jobs) == 20  # while more come: two for each of eight slots, and some
    assert all(job.peers for job in policy.views[-1].jobs)
    made.more = False
    made.take(a, 2.0)
    assert len(policy.views[-1].jobs) == POLICY_JOBS_MAX


def test_a_plan_is_made_again_after_anything_that_matters():
    made, policy, _ = scheduler(lambda view: [], "http://a:1", "http://b:1")
    a, b = made.sources
    proven(made, a, b)
    made.put("x")
    made.take(a, 0.0)
    made.take(b, 0.0)
    made.take(a, 0.1)
    assert len(policy.views) == 1
    for happens in (
        lambda: made.put("y"),
        lambda: made.connected(b, 0.1),
        lambda: made.gone(b, 0.1, "cut"),
    ):
        before = len(policy.views)
        happens()
        made.connected(b, 0.1)
        b.rest_until = 0.0
        made.take(a, 0.1)
        assert len(policy.views) == before + 1
    made.take(a, 0.5)  # and after a while
    assert len(policy.views) == before + 2


def test_a_broken_policy_is_left_out_and_the_oldest_job_goes_to_whoever_is_free():
    made, policy, complaints = scheduler(lambda view: [(0, 0), (0, 0)], "http://a:1", "http://b:1")
    a, b = made.sources
    proven(made, a, b)
    for job in "xyz":
        made.put(job)
    assert [made.take(source, 0.0).job for source in (b, a, b)] == list("xyz")
    assert len(complaints) == len(policy.views) == 1


def test_one_that_leaves_everybody_idle_is_left_out_after_a_while():
    made, _, complaints = scheduler(lambda view: [], "http://a:1", "http://b:1")
    a, b = made.sources
    proven(made, a, b)
    made.put("x")
    assert made.take(a, 0.0) is None
    assert made.take(b, POLICY_IDLE_S - 0.1) is None
    assert complaints == []
    assert made.take(b, POLICY_IDLE_S + 0.3).job == "x"
    assert len(complaints) == 1


def test_a_source_that_is_found_later_is_asked_too():
    made, _, _ = scheduler(to_the_last, "http://a:1")
    proven(made, made.sources[0])
    late = made.add("http://127.0.0.1:1", 5.0)
    assert (late.since, late.local) == (5.0, True)
    proven(made, late)
    made.put("x")
    assert made.take(made.sources[0], 6.0) is None
    assert made.take(late, 6.0).job == "x"
