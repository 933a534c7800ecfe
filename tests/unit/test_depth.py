"""How many jobs lie with a source that exchanges."""

from __future__ import annotations

import random

from wherry.abc.exchange import HaveMap
from wherry.stretches import Stretches
from wherry.transfer.scheduler import Scheduler
from wherry.units import MiB

SIZE = 1 * MiB


def has(*jobs, complete=False, choosy=False):
    return HaveMap(Stretches((job * SIZE, (job + 1) * SIZE) for job in jobs), complete, choosy)


def swarm(*names, jobs):
    made = Scheduler(list(names), now=0.0, rng=random.Random(1))
    for source in made.sources:
        made.connected(source, 0.0, 8, linked=True)
        made.succeeded(source, 0.0, 1, 1000)
    for job in range(jobs):
        made.put(job, size=SIZE, spans=[(job * SIZE, (job + 1) * SIZE)])
    return made, made.sources


def test_few_jobs_lie_with_a_slow_source_and_more_with_a_fast_one():
    made, (slow, fast) = swarm("slow", "fast", jobs=40)
    for source in (slow, fast):
        made.have(source, 0.0, has(*range(40)))
    fast.meter.add(1.0, 40 * MiB)
    for source, count in ((slow, 2), (fast, 8)):
        given = 0
        while made.take(source, 1.0) is not None:
            given += 1
        assert given == count


def test_a_short_leaf_at_the_end_does_not_let_all_jobs_lie_with_one_source():
    """Nearly every file has one, and it is put last: so a seed was asked for everything before others had anything to give."""
    made, (seed,) = swarm("seed", jobs=20)
    made.put("rest", size=12_345, spans=[(20 * SIZE, 20 * SIZE + 12_345)])
    made.have(seed, 0.0, has(*range(21)))
    seed.meter.add(1.0, 4 * MiB)
    given = 0
    while made.take(seed, 1.0) is not None:
        given += 1
    assert given == 2


def test_one_job_lies_with_a_source_that_shows_others_something_else():
    made, (seed, other) = swarm("seed", "other", jobs=8)
    made.have(seed, 0.0, has(*range(8), complete=True, choosy=True))
    made.have(other, 0.0, has(*range(8)))
    for source, count in ((seed, 1), (other, 2)):
        assert [made.take(source, 1.0) is not None for _ in range(3)] == [True] * count + [False] * (3 - count)


def test_one_job_lies_with_each_of_many_who_download_as_well():
    made, sources = swarm("a", "b", "c", "d", "seed", jobs=40)
    *leechers, seed = sources
    for source in leechers:
        made.have(source, 0.0, has(*range(40)))
    made.have(seed, 0.0, has(*range(40), complete=True))
    first = [made.take(source, 1.0) for source in sources]
    assert None not in first
    assert [made.take(source, 1.0) is not None for source in sources] == [False] * 4 + [True]  # who has all never idles
    made.done(leechers[0], first[0], 1.0)  # three others are at work: the link may idle when one runs dry
    assert [made.take(leechers[1], 1.0) is not None for _ in range(2)] == [True, False]


def test_two_jobs_lie_with_each_of_a_large_swarm():
    made, sources = swarm(*(f"peer {number}" for number in range(13)), jobs=40)
    for source in sources:
        made.have(source, 0.0, has(*range(40)))
    assert None not in [made.take(source, 1.0) for source in sources]
    assert [made.take(source, 1.0) is not None for source in sources] == [True] * 13


def test_what_a_walk_waits_for_is_asked_beside_the_jobs_that_a_source_has():
    made, (seed,) = swarm("seed", jobs=8)
    made.have(seed, 0.0, has(*range(8), complete=True, choosy=True))
    assert made.take(seed, 1.0) is not None
    made.put("node", urgent=True, size=1000)
    assert made.take(seed, 1.0).job == "node"
    assert made.take(seed, 1.0) is None
