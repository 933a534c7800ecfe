"""Whole swarms on a virtual clock: whatever goes wrong in them, the invariants hold, and each can fail (specs/0030)."""

from __future__ import annotations

import random

import pytest

from wherry.testing.fanout.plan import Kill, Plan
from wherry.testing.fanout.world import live
from wherry.units import MiB
from wherry_policy.reputation import Reputation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SEEDS = 300
GROUPS = 10


def drawn(seed):
    """A small swarm, with what goes wrong in it, from a seed."""
    rng = random.Random(seed)
    nodes = rng.randint(5, 12)
    kills = tuple(
        Kill(rng.uniform(0.0, 6.0), rng.randint(1, nodes), rng.choice([0.0, 0.0, 3.0, 12.0]))
        for _ in range(rng.choice([0, 0, 1, 2]))
    )
    return Plan(
        nodes=nodes,
        size=rng.randint(20, 60) * MiB - rng.choice([0, 1, MiB - 1]),
        origin_rate=rng.choice([12.5e6, 12.5e6, 5e6, 25e6]),
        latency_s=rng.choice([0.0, 0.005, 0.02, 0.1]),
        loss=rng.choice([0.0, 0.0, 0.01, 0.1]),
        churn=rng.choice([0.0, 0.0, 0.5, 1.0]),
        liars=rng.choice([0, 0, 0, 1, 3]),
        freeloaders=rng.choice([0, 0, 0, 1, 2]),
        partition_s=rng.choice([0.0, 0.0, 0.0, 2.0, 35.0]),
        silent=rng.random() < 0.3,
        kills=kills,
        degree=rng.choice([3, 6, 14]),
        followers=rng.choice([2, 4, 32]),
        order=rng.choice(["rarest", "rarest", "rarest", "sequential"]),
        seed=seed,
    )


@pytest.mark.parametrize("group", range(GROUPS))
def test_three_hundred_small_swarms_hold_every_invariant(group):
    for seed in range(group, SEEDS, GROUPS):
        plan = drawn(seed)
        outcome = live(plan, policy=Reputation(0.25) if seed % 7 == 0 else None)
        gone = sum(kill.back_s == 0.0 for kill in plan.kills)
        assert outcome.complete + sum(outcome.errors.values()) == plan.nodes
        assert outcome.complete >= plan.nodes - gone or set(outcome.errors) <= {"killed", "lost", "absent", "unreached"}


@pytest.mark.parametrize("seed", [3, 17])
def test_a_seed_gives_the_same_run(seed):
    one, two = live(drawn(seed)), live(drawn(seed))
    assert one == two
    assert live(Plan(seed=seed + 1)).trace != live(Plan(seed=seed + 2)).trace
