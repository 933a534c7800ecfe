"""The end of a swarm's transfer, and connections that are lost with all that was asked for over them."""

from __future__ import annotations

import random

import pytest

from wherry.abc.exchange import HaveMap
from wherry.stretches import Stretches
from wherry.transfer.choice import Choice
from wherry.transfer.flights import DEAD_S, OWED_S, SILENT_S
from wherry.transfer.scheduler import Scheduler
from wherry.units import MiB
from wherry_policy.reputation import Reputation


def seeds(*names, jobs, more=False, order="rarest"):
    """Sources that exchange, have everything, and were of use."""
    made = Scheduler(list(names), now=0.0, rng=random.Random(1), order=order)
    for source in made.sources:
        made.connected(source, 0.0, 8, linked=True)
        made.succeeded(source, 0.0, 1, 1000)
    for job in range(jobs):
        made.put(job, size=MiB)
    made.more = more
    return made, made.sources


def given(made, source, now=2.0):
    """How many jobs a source gets now."""
    count = 0
    while made.take(source, now) is not None:
        count += 1
    return count


def test_the_last_jobs_go_to_sources_that_have_none():
    """Two that wait with one source, one behind the other, are what everybody waits for while the others idle."""
    made, sources = seeds("a", "b", "c", "d", jobs=4)
    assert [given(made, source) for source in sources] == [1, 1, 1, 1]


def test_before_the_end_a_source_has_the_next_one_before_it():
    made, sources = seeds("a", "b", "c", "d", jobs=13)
    assert [given(made, source) for source in sources] == [2, 2, 2, 2]
    made, sources = seeds("a", "b", "c", "d", jobs=4, more=True)
    assert [given(made, source) for source in sources[:2]] == [2, 2]


def test_one_source_alone_has_the_next_one_before_it_to_the_end():
    made, (a,) = seeds("a", jobs=1)
    assert given(made, a) == 1
    made.put("last", size=MiB)
    assert given(made, a) == 1
    assert a.working == 2


def test_jobs_that_take_no_time_wait_anywhere():
    """Where a source gives many in a moment, it would idle for a round trip between two."""
    made, (a, b) = seeds("a", "b", jobs=2)
    for source in (a, b):
        source.meter.add(2.0, 500 * MiB)
    assert given(made, a) == 2


def test_what_is_lost_with_a_connection_is_one_failure():
    """As many as were asked for would make it pass for a source that fails nearly always."""
    made, (a, _) = seeds("a", "b", jobs=9)
    tasks = [made.take(a, 2.0) for _ in range(2)]
    rests = []
    for task in tasks:
        rests.append(made.failed(task, a, 3.0, "lost"))
        made.done(a, task, 3.0)
    rests.append(made.gone(a, 3.0, "lost"))
    assert a.failures == 1
    assert rests == pytest.approx([rests[0]] * 3)
    assert a.rest_until == pytest.approx(3.0 + rests[0])
    made.connected(a, a.rest_until, 8, linked=True)
    made.gone(a, a.rest_until, "lost again")
    assert a.failures == 2


def test_one_that_never_gave_anything_is_late_when_others_would_be():
    made, (silent, b) = seeds("silent", "b", jobs=1)
    b.standing.answered(1.0, MiB, 0.2, 0.1)
    task = made.take(silent, 2.0)
    assert made.hedge(b, 2.4, lambda _job: True) is None
    assert made.hedge(b, 2.8, lambda _job: True) is task


def any_job(_job):
    return True


def middle(order):
    """In the middle of a transfer a source has a job that it is late with, and another has nothing to do."""
    made, (a, b) = seeds("a", "b", jobs=0, more=True, order=order)
    a.standing.rate = b.standing.rate = 10.0 * MiB
    made.put(0, size=MiB)
    task = made.take(a, 2.0)
    return made, a, b, task


def comes(made, now, other=None):
    """Something comes; of ``other``, or of nobody who is asked here."""
    made.came += 1000
    if other is not None:
        other.meter.add(now, 1000)


def test_in_the_middle_a_job_lies_with_a_source_that_gives_others():
    made, a, b, task = middle("rarest")
    for tenth in range(20, 200):
        comes(made, tenth / 10, a)
        assert made.hedge(b, tenth / 10, any_job) is None
    made.more = False  # now somebody waits for it
    assert made.hedge(b, 20.1, any_job) is task


def test_in_the_middle_a_source_that_gives_nothing_at_all_is_late_in_time():
    made, _, b, task = middle("rarest")
    for tenth in range(20, round(10 * (2.0 + SILENT_S)) + 1):
        comes(made, tenth / 10)
        assert made.hedge(b, tenth / 10, any_job) is None
    comes(made, 12.1)
    assert made.hedge(b, 2.1 + SILENT_S, any_job) is task


def test_where_nothing_comes_nobody_is_patient():
    made, a, b, task = middle("rarest")
    comes(made, 2.0, a)
    assert made.hedge(b, 2.0, any_job) is None
    assert made.hedge(b, 2.0 + DEAD_S / 2, any_job) is None
    assert made.hedge(b, 2.1 + DEAD_S, any_job) is task


def test_who_reads_along_waits_for_each_job():
    made, a, b, task = middle("sequential")
    a.meter.add(3.0, 100_000)
    assert made.hedge(b, 3.0, any_job) is task


def test_a_third_is_asked_when_two_are_late_and_who_was_silent_has_failed():
    """Of two sources that died together nobody hears; until their connections are given up the job would lie with them."""
    made, (one, two, three) = seeds("a", "b", "c", jobs=1)
    for source in (one, two, three):
        source.standing.rate = float(MiB)
    task = made.take(one, 2.0)
    assert made.hedge(two, 5.5, any_job) is task
    assert made.hedge(three, 6.0, any_job) is None  # the second may bring it yet
    assert made.hedge(three, 9.0, any_job) is task
    made.succeeded(three, 10.0, 1, MiB, task)
    for source in (one, two):
        made.beaten(task, source, 10.0)
        assert (source.proven, source.failures) == (False, 1)
        made.done(source, task, 10.0)
    made.done(three, task, 10.0)
    assert three.proven


def test_who_was_beaten_in_time_is_trusted_as_before():
    made, (slow, fast) = seeds("a", "b", jobs=1)
    slow.standing.rate, fast.standing.rate = MiB / 4, 100.0 * MiB
    task = made.take(slow, 2.0)
    assert made.hedge(fast, 2.5, any_job) is task
    made.beaten(task, slow, 2.6)
    assert (slow.proven, slow.failures) == (True, 0)


def test_where_nobody_was_of_use_yet_all_are_asked_in_turn_and_nothing_that_does_not_come_counts():
    """Nine that never answer, of a dataset that is one job."""
    made, sources = seeds(*"abcdefghij", jobs=0)
    for source in sources:
        source.proven = False
    made.put(0, size=4 * MiB)
    assert made.take(sources[0], 2.0) is not None
    now, asked = 2.0, 1
    while asked < len(sources):
        now += 0.1
        asked += sum(made.hedge(source, now, any_job) is not None for source in sources)
    assert now < 10.0


def test_who_was_of_use_goes_before_who_never_was():
    made, (silent, new, known) = seeds("a", "b", "c", jobs=1)
    silent.proven = new.proven = False
    task = made.take(silent, 2.0)
    assert made.hedge(new, 9.0, any_job) is None
    assert made.hedge(known, 9.0, any_job) is task


def test_what_a_source_was_told_to_leave_may_come_all_the_same():
    """It counts for the room that there is for bytes that come twice until it came, or is late for that."""
    made, (slow, fast) = seeds("slow", "fast", jobs=8)
    slow.parallel = 8
    slow.meter.add(2.0, 400 * MiB)
    fast.meter.add(2.0, 400 * MiB)
    tasks = [made.take(slow, 2.0) for _ in range(8)]
    slow.standing.rate, fast.standing.rate = 1e4, 1e9

    def hedged(now):
        count = 0
        while (task := made.hedge(fast, now, lambda _: True)) is not None:
            made.succeeded(fast, now, 1, MiB, task)
            made.beaten(task, slow, now)
            made.done(slow, task, now)
            made.done(fast, task, now)
            count += 1
        return count

    assert all(tasks)
    assert hedged(3.0) == 4  # MiB, of a transfer that is so small
    assert hedged(4.0) == 0
    made.twice(MiB)  # one was on its way; the others never come
    assert hedged(3.0 + OWED_S) == 0
    assert hedged(3.1 + OWED_S) == 3
    assert made.wasted == MiB


def test_a_source_that_is_there_again_is_given_jobs_however_often_it_was_called_in_vain():
    """While others have two each before them; a policy that lays the last jobs where they end soonest sees it as it is now."""
    choice = Choice(Reputation(0.25), random.Random(1), lambda: 0.0, pytest.fail)
    made = Scheduler(["a", "b", "back"], now=0.0, rng=random.Random(1), choice=choice)
    for source in made.sources:
        made.connected(source, 0.0, 8, linked=True)
        made.succeeded(source, 0.0, 1, 1000)
        source.standing.rate = 2e6
    *_, back = made.sources
    for job in range(12):
        made.put(job, size=MiB)
    made.more = False
    now = 1.0
    for reason in ("cut", "nobody answers", "nobody answers", "nobody answers"):
        made.gone(back, now, reason)
        now = back.rest_until + 0.01
    assert [given(made, source, now) for source in made.sources] == [2, 2, 0]
    made.connected(back, now, 8, linked=True)
    made.have(back, now, None)
    assert back.failures == 4  # it rests as long as before, if it fails again
    assert given(made, back, now + 1.1) == 1


def test_what_the_dead_may_bring_all_the_same_is_bounded_too():
    """A source that was cut off for a moment gives all at once what others were asked for meanwhile."""
    made, (dead, fast) = seeds("dead", "fast", jobs=30)
    dead.parallel = 30
    dead.meter.add(2.0, 4000 * MiB)
    tasks = [made.take(dead, 2.0) for _ in range(30)]
    assert all(tasks)
    dead.standing.rate, fast.standing.rate, dead.proven = 10.0 * MiB, 1e9, False
    fast.parallel = 30
    fast.meter.add(12.0, 4000 * MiB)
    asked = 0
    while made.hedge(fast, 12.0, any_job) is not None:
        asked += 1
    assert asked == 8  # MiB: 4 as of all, and 4 more of those who gave nothing


@pytest.mark.parametrize("fault", ["absent", "bad"])
def test_what_a_source_did_is_not_laid_to_one_that_comes_when_it_is_gone(fault):
    """The second may lie where the first lay in memory, and would be given nothing, for what it never did."""
    for _ in range(20):
        made, now = Scheduler([], now=0.0, rng=random.Random(1)), 0.0
        made.put("job", size=MiB)
        gone = made.add("tcp://gone:1", now)
        made.connected(gone, now)
        for _ in range(1 if fault == "absent" else 3):
            task = made.take(gone, now)
            made.absent(task, gone) if fault == "absent" else made.bad(task, gone, now, "wrong", rejected=1)
            made.done(gone, task, now)
            now = gone.rest_until + 0.01
        assert made.take(gone, now) is None  # never again
        made.gone(gone, now, "bye", for_good=True)
        made.drop(gone)
        del gone
        honest = made.add("tcp://honest:1", now)
        made.connected(honest, now)
        assert made.verdict(now) is None
        assert made.take(honest, now) is task


def test_what_one_that_is_gone_failed_with_another_that_comes_is_asked_for_in_place_of_the_late():
    """A source that comes may be asked for what another is late with, whoever failed with it before."""
    for _ in range(20):
        made = Scheduler(["a", "gone"], now=0.0, rng=random.Random(1))
        late, gone = made.sources
        for source in (late, gone):
            made.connected(source, 0.0, linked=True)
            made.have(source, 0.0, HaveMap(Stretches([(0, MiB)]), complete=True))
        made.put("job", size=MiB)
        made.more = False
        task = made.take(gone, 0.0)
        made.failed(task, gone, 0.0, "lost")
        made.done(gone, task, 0.0)
        assert made.take(late, 0.0) is task
        made.gone(gone, 0.0, "bye", for_good=True)
        made.drop(gone)
        del gone, source
        made.succeeded(late, 0.0, 1, 1000)
        new = made.add("new", 1.0)
        made.connected(new, 1.0, linked=True)
        made.have(new, 1.0, HaveMap(Stretches([(0, MiB)]), complete=True))
        assert made.hedge(new, 60.0, lambda _: True) is task
