"""Newcomers: a quarter of the slots while somebody better known is there, whatever names they come with."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from wherry.transfer.newcomers import TRUSTED_JOBS, crowded
from wherry.transfer.scheduler import Scheduler
from wherry.transfer.source import Source
from wherry.transfer.standing import KNOWN_JOBS, Past

KNOWN = Past(useful=float(TRUSTED_JOBS))


def source(*, known=False, alive=True, working=0, parallel=4, **fields):
    made = Source("http://h:1", alive=alive, working=working, parallel=parallel, **fields)
    if known:
        made.standing.past = KNOWN
    return made


def test_who_is_known():
    standing = source().standing
    assert not standing.known
    for now in range(KNOWN_JOBS):
        assert not standing.known
        standing.answered(float(now), 1 << 20, 0.1, 0.1)
    assert standing.known
    standing.past = Past(useful=20.0)
    assert standing.known
    standing.past = Past(useful=5.0, wrong=20.0)
    assert not standing.known, "its past is worse than what it did today"


def test_where_nobody_is_known_nobody_is_held_back():
    sources = [source(working=4) for _ in range(5)]
    assert not any(crowded(each, sources) for each in sources)


def test_a_known_one_that_is_of_no_use_now_is_no_reason_to_wait():
    new = source(working=1)
    for known in (
        source(known=True, alive=False), source(known=True, denied=True), source(known=True, failures=1),
        source(known=True, choked=True),
    ):  # fmt: skip
        assert not crowded(new, [known, new])
    assert crowded(new, [source(known=True, parallel=3), new])
    assert not crowded(source(known=True, working=4), [new])


def test_nobody_waits_for_the_sake_of_one_that_sent_wrong_blocks_or_is_not_known_for_long():
    new, caught, fresh = source(working=1), source(known=True, parallel=3), source(parallel=3)
    caught.standing.wrong(1.0, 1)
    fresh.standing.past = Past(useful=float(TRUSTED_JOBS - 1))
    assert caught.standing.known
    assert fresh.standing.known
    assert not crowded(new, [caught, new])
    assert not crowded(new, [fresh, new])


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8), st.integers(1, 8)), min_size=1, max_size=12))
def test_whoever_is_let_in_leaves_newcomers_within_a_quarter(rows):
    sources = [source(known=known, working=min(working, parallel), parallel=parallel) for known, working, parallel in rows]
    slots = sum(each.parallel for each in sources)
    for each in sources:
        if not crowded(each, sources) and not each.standing.known and any(other.standing.known for other in sources):
            busy = sum(other.working for other in sources if not other.standing.known)
            assert busy + 1 <= max(1, slots // 4)
    if sum(other.working for other in sources if not other.standing.known) == 0:
        assert not any(crowded(each, sources) for each in sources), "one at least, or no honest one would ever become known"


def test_liars_with_new_names_get_a_quarter_of_the_slots_at_most():
    """Whitewash (T4): one honest, known and slow peer; nine that lie, and come back under a new name each time."""
    rng = random.Random(4)
    scheduler = Scheduler(["http://honest:1"], now=0.0, rng=rng, wait_s=60.0)
    honest = scheduler.sources[0]
    honest.standing.past = KNOWN
    liars = [scheduler.add(f"http://liar{n}:1", 0.0) for n in range(9)]
    for each in scheduler.sources:
        scheduler.connected(each, 0.0)
    for job in range(400):
        scheduler.put(job, size=1 << 20)
    names, now, done, wrong, busy = 9, 0.0, 0, 0, []
    while done < 400:
        now += 0.05
        assert now < 600
        for each in list(scheduler.sources):
            task = scheduler.take(each, now)
            if task is not None:
                busy.append((each, task, now + (0.1 if each is honest else 0.01)))
        lying = sum(each is not honest for each, _, _ in busy)
        assert lying <= max(1, sum(each.parallel for each in scheduler.sources if each.alive) // 4)
        for each, task, ends in list(busy):
            if ends > now:
                continue
            busy.remove((each, task, ends))
            if each is honest:
                scheduler.succeeded(each, now, 1, 1 << 20, task)
                done += 1
            else:
                scheduler.bad(task, each, now, "lies", rejected=1)
                wrong += 1
                scheduler.done(each, task, now)
                scheduler.gone(each, now, "leaves", for_good=True)
                liars.remove(each)
                liars.append(scheduler.add(f"http://liar{names}:1", now))
                names += 1
                scheduler.connected(liars[-1], now)
                continue
            scheduler.done(each, task, now)
    assert scheduler.waiting == 0
    assert wrong > 20
    assert now < 120
