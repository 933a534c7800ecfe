"""The scheduler's rules, one by one: who is asked for what, who rests, and when it is over."""

from __future__ import annotations

import random

import pytest

from wherry.abc.exchange import HaveMap
from wherry.limits import FIRST_SOURCE_S
from wherry.stretches import Stretches
from wherry.transfer.ending import reasons_of
from wherry.transfer.scheduler import Scheduler

WAIT_S = 60.0


def scheduler(*addresses, wait_s=WAIT_S):
    made = Scheduler(list(addresses), now=0.0, rng=random.Random(1), wait_s=wait_s)
    return made, made.sources


def proven(made, *sources):
    for source in sources:
        made.connected(source, 0.0)
        made.succeeded(source, 0.0, 1, 100)


def kind(made, now):
    verdict = made.verdict(now)
    return verdict.kind if verdict is not None else None


def test_jobs_are_given_in_order_and_urgent_ones_first():
    made, (a,) = scheduler("a")
    proven(made, a)
    for job in "xyz":
        made.put(job)
    made.put("node", urgent=True)
    assert [made.take(a, 0.0).job for _ in range(4)] == ["node", "x", "y", "z"]
    assert made.take(a, 0.0) is None
    assert made.waiting == 0


def test_a_source_that_is_not_connected_is_given_nothing():
    made, (a,) = scheduler("a")
    made.put("x")
    assert made.take(a, 0.0) is None


def test_a_source_has_one_job_until_it_was_of_use_and_again_after_a_failure():
    made, (a,) = scheduler("a")
    made.connected(a, 0.0)
    for job in "vwxyz":
        made.put(job)
    first = made.take(a, 0.0)
    assert made.take(a, 0.0) is None
    made.succeeded(a, 0.0, 1, 10)
    second = made.take(a, 0.0)
    assert (first.job, second.job) == ("v", "w")
    made.failed(second, a, 0.0, "cut")
    made.done(a, second)
    assert made.take(a, a.rest_until) is None  # the first job is still with it
    made.done(a, first)
    assert made.take(a, a.rest_until).job == "x"


def test_a_source_rests_after_a_failure_longer_each_time_and_at_most_eight_seconds():
    made, (a,) = scheduler("a")
    proven(made, a)
    made.put("x")
    now, rests = 0.0, []
    for _ in range(12):
        task = made.take(a, now)
        rests.append(made.failed(task, a, now, "slow"))
        made.done(a, task)
        assert made.take(a, now + rests[-1] * 0.99) is None
        now += rests[-1]
    assert all(0.05 * 2**n <= rest <= 0.2 * 2**n for n, rest in enumerate(rests[:5]))
    assert all(2.0 <= rest <= 8.0 for rest in rests[7:])


def test_rests_are_not_all_alike():
    made, (a,) = scheduler("a")
    proven(made, a)
    made.put("x")
    rests = set()
    for now in range(0, 500, 100):
        made.succeeded(a, now, 1, 1)
        rests.add(made.failed(made.take(a, now), a, now, "slow"))
    assert len(rests) == 5


def test_a_job_goes_to_another_source_when_one_does_not_have_it():
    made, (a, b) = scheduler("a", "b")
    proven(made, a, b)
    made.put("x")
    task = made.take(a, 0.0)
    made.absent(task, a)
    made.done(a, task)
    assert made.take(a, 0.0) is None
    assert made.verdict(0.0) is None
    task = made.take(b, 0.0)
    assert task.job == "x"
    made.absent(task, b)
    made.done(b, task)
    assert made.verdict(0.0)[:2] == ("absent", "x")


def test_what_is_said_of_a_job_holds_for_its_parts():
    made, (a, b) = scheduler("a", "b")
    proven(made, a, b)
    made.put("x")
    task = made.take(a, 0.0)
    part = task.part("half of x")
    made.absent(part, a)
    assert a.number not in task.absent  # the other half is not concerned
    made.absent(task, b)
    assert b.number in task.part("more").absent


def test_jobs_of_which_nothing_was_said_hold_nothing_of_their_own():
    made, (a,) = scheduler("a")
    proven(made, a)
    made.put("x")
    made.put("y")
    x, y = made.take(a, 0.0), made.take(a, 0.0)
    for name in ("absent", "bad", "failed", "lacks"):
        assert getattr(x, name) is getattr(y, name) is getattr(x.part("half of x"), name)
    made.failed(x, a, 0.0, "reset")
    made.bad(x, a, 0.0, "wrong hash")
    assert (x.failed[a.number], x.bad[a.number]) == (2, 1)
    assert not y.failed
    assert not y.bad


def test_a_source_that_sends_a_job_wrong_three_times_is_not_asked_for_it_again():
    made, (a, b) = scheduler("a", "b")
    made.connected(a, 0.0)
    made.put("x")
    for _ in range(3):
        task = made.take(a, 1e6)
        made.bad(task, a, 0.0, "wrong hash")
        made.done(a, task)
    assert made.take(a, 1e6) is None
    assert made.verdict(1.0) is None  # b may have it
    proven(made, b)
    made.absent(made.take(b, 1.0), b)
    assert made.verdict(1.0)[:2] == ("corrupt", "x")
    made.put("y")
    assert made.take(a, 1e6).job == "y"


def test_a_source_that_sends_other_jobs_right_may_send_one_wrong_more_often():
    made, (a,) = scheduler("a")
    proven(made, a)
    made.put("x")
    for _ in range(10):
        task = made.take(a, 1e6)
        made.bad(task, a, 0.0, "wrong hash")
        made.done(a, task)
    assert made.take(a, 1e6) is None
    assert made.verdict(1.0)[:2] == ("corrupt", "x")


def test_a_job_that_came_wrong_is_left_to_another_source_that_works():
    made, (a, b) = scheduler("a", "b")
    proven(made, a, b)
    made.put("x")
    task = made.take(a, 0.0)
    made.bad(task, a, 0.0, "wrong hash")
    made.done(a, task)
    assert made.take(a, 1e6) is None
    task = made.take(b, 0.0)
    made.failed(task, b, 0.0, "silent")
    made.done(b, task)
    assert made.take(a, 1e6).job == "x"  # now that one fails too


def test_no_source_ever():
    made, _ = scheduler("a", "b")
    made.put("x")
    assert kind(made, FIRST_SOURCE_S - 0.1) is None
    assert kind(made, FIRST_SOURCE_S + 0.1) == "unreached"
    assert kind(scheduler("a")[0], 1e9) is None  # nothing is wanted


def test_no_source_named():
    made, _ = scheduler()
    made.put("x")
    assert kind(made, 0.0) == "unreached"


def test_waiting_less_is_waiting_less_for_the_first_too():
    made, (a,) = scheduler("a", wait_s=2.0)
    made.put("x")
    made.gone(a, 0.0, "refused")
    assert kind(made, 1.9) is None
    assert kind(made, 2.1) == "unreached"


def test_a_source_is_tried_once_however_short_the_wait_for_those_that_are_lost():
    made, (a,) = scheduler("a", wait_s=0.0)
    made.put("x")
    assert kind(made, 1.0) is None
    made.gone(a, 1.0, "refused")
    assert kind(made, 1.1) == "unreached"


def test_a_source_that_is_lost_is_waited_for_since_it_failed_first():
    made, (a,) = scheduler("a")
    proven(made, a)
    made.put("x")
    now = 1000.0  # nothing was wanted for long
    for _ in range(5):
        made.gone(a, now, "refused")
        assert kind(made, now) is None
        made.connected(a, now)  # it takes the connection each time, and is of no use
        task = made.take(a, now + 9)
        made.failed(task, a, now, "cut")
        made.done(a, task)
    assert kind(made, 1000.0 + WAIT_S - 0.1) is None
    assert kind(made, 1000.0 + WAIT_S + 0.1) == "lost"
    made.succeeded(a, 1100.0, 1, 1)
    assert kind(made, 1100.0) is None


def test_a_source_that_is_busy_for_ever_is_lost():
    made, (a,) = scheduler("a")
    made.connected(a, 0.0)
    made.put("x")
    now = 0.0
    while now < WAIT_S:
        task = made.take(a, now)
        if task is not None:
            made.failed(task, a, now, "busy")
            made.done(a, task)
            assert kind(made, now) is None
        now += 0.5
    assert kind(made, now + 0.5) == "lost"


def test_one_source_that_works_is_enough():
    made, (a, b) = scheduler("a", "b")
    proven(made, a, b)
    made.put("x")
    made.gone(b, 0.0, "refused")
    assert kind(made, 9 * WAIT_S) is None
    assert made.take(a, 9 * WAIT_S).job == "x"


def test_a_source_that_refuses_us_is_not_waited_for():
    made, (a, b) = scheduler("a", "b")
    made.put("x")
    made.gone(a, 0.0, "401", for_good=True)
    assert kind(made, 0.0) is None
    made.gone(b, 0.0, "401", for_good=True)
    assert kind(made, 0.0) == "denied"


def test_an_answer_of_absent_does_not_wait_for_ever_for_a_source_that_never_came():
    made, (a, _b) = scheduler("a", "b")
    proven(made, a)
    made.put("x")
    made.absent(made.take(a, 0.0), a)
    assert kind(made, 1.0) is None
    assert kind(made, FIRST_SOURCE_S + 1) == "absent"


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("connected", "gave nothing whole in time"),
        ("failed", "cut short"),
        ("failed, and is back", "cut short"),
        ("was of use since", "gave nothing whole in time"),
        ("lacks", "does not have all of it"),
        ("lacks, and is back", "does not have all of it"),
    ],
)
def test_each_source_says_why_it_is_of_no_use(what, why):
    made, (a, b) = scheduler("a", "b")
    made.gone(b, 0.0, "refused")
    made.connected(a, 0.0)
    lacking = set()
    if what != "connected":
        made.put("x")
        made.failed(made.take(a, 0.0), a, 0.0, "cut short")
    if what.startswith("lacks") or what == "was of use since":
        made.succeeded(a, 1.0, 1, 1000)
    if what.startswith("lacks"):
        lacking = {a.number}
    if what.endswith("is back"):
        made.connected(a, 2.0)
    assert reasons_of(made.sources, lacking) == f"a: {why}; b: refused"


def test_a_source_with_a_part_that_lacks_it_and_gains_nothing_does_not_have_it():
    made, (a, b) = scheduler("a", "b")
    proven(made, a)
    made.have(a, 0.0, HaveMap(Stretches([(0, 10)])))
    made.gone(b, 0.0, "refused")
    made.put("x", spans=[(20, 30)])
    assert kind(made, WAIT_S - 1) is None
    verdict = made.verdict(WAIT_S + 1)
    assert (verdict.kind, verdict.lacking) == ("absent", {a.number})
    made.gone(a, WAIT_S + 1, "reset")  # it may have had it after all
    assert kind(made, 3 * WAIT_S) == "lost"


def test_a_source_with_a_part_that_said_so_when_it_was_asked_does_not_have_it():
    made, (a,) = scheduler("a")
    proven(made, a)
    made.have(a, 0.0, HaveMap(Stretches([(0, 10)])))
    made.put("x")  # nobody knows where it lies
    task = made.take(a, 0.0)
    made.absent(task, a)
    made.done(a, task)
    assert kind(made, WAIT_S + 1) == "absent"


def test_a_source_that_does_others_and_never_this_one_is_not_asked_for_ever():
    made, (a,) = scheduler("a")
    proven(made, a)
    made.put("bad")
    now, tries = 0.0, 0
    while kind(made, now) is None:
        task = made.take(a, now)
        if task is not None:
            tries += 1
            made.succeeded(a, now, 1, 100)  # of another job
            made.failed(task, a, now, "broke off", vain=True)
            made.done(a, task, now)
        now += 1.0
        assert now < 10 * WAIT_S
    assert kind(made, now) == "absent"
    assert tries >= 10
    assert now >= WAIT_S
