"""A scheduler whose sources are peers that say what they have, and its jobs: one for each MiB."""

from __future__ import annotations

import random

import pytest

from wherry.abc.exchange import HaveMap
from wherry.stretches import Stretches
from wherry.transfer.choice import Choice
from wherry.transfer.scheduler import Scheduler
from wherry.units import MiB

SIZE = 1 * MiB


def has(*jobs, complete=False, choosy=False):
    return HaveMap(Stretches((job * SIZE, (job + 1) * SIZE) for job in jobs), complete, choosy)


def swarm(*names, jobs=8, order="rarest", seed=1, policy=None):
    choice = Choice(policy, random.Random(seed), lambda: 0.0, pytest.fail) if policy is not None else None
    made = Scheduler(list(names), now=0.0, rng=random.Random(seed), order=order, choice=choice)
    for source in made.sources:
        made.connected(source, 0.0, 8, linked=True)
        made.succeeded(source, 0.0, 1, 1000)
    made.came = 100 * SIZE  # beyond the jobs that are chosen by chance
    made._waiting.by_chance = False
    for job in range(jobs):
        made.put(job, size=SIZE, spans=[(job * SIZE, (job + 1) * SIZE)])
    return made, made.sources


def finish(made, source, task, now=1.0):
    made.succeeded(source, now, 1, SIZE, task)
    made.done(source, task, now)
