"""Whole swarms on a virtual clock: whatever goes wrong in them the invariants hold, and each of those can fail (specs/0030)."""

from __future__ import annotations

import dataclasses
import random

import pytest

from wherry.errors import UsageError
from wherry.swarm.swarm import Swarm
from wherry.testing.fanout.clock import Clock
from wherry.testing.fanout.invariants import Broken
from wherry.testing.fanout.outcome import jain
from wherry.testing.fanout.pipe import Downlink, Uplink
from wherry.testing.fanout.plan import Kill, Plan
from wherry.testing.fanout.world import World, live
from wherry.units import MiB
from wherry_policy.reputation import Reputation

pytestmark = pytest.mark.timeout(300)

SEEDS = 300
GROUPS = 10


def drawn(seed):
    """A small swarm, with what goes wrong in it, from a seed."""
    rng = random.Random(seed)
    nodes = rng.randint(4, 9)
    kills = tuple(
        Kill(rng.uniform(0.0, 6.0), rng.randint(1, nodes), rng.choice([0.0, 0.0, 3.0, 12.0]))
        for _ in range(rng.choice([0, 0, 1, 2]))
    )
    return Plan(
        nodes=nodes,
        size=rng.randint(12, 36) * MiB - rng.choice([0, 1, MiB - 1]),
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


@pytest.mark.slow
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
    assert live(drawn(seed)) == live(drawn(seed))
    assert live(Plan(nodes=3, seed=seed)).trace != live(Plan(nodes=3, seed=seed + 1)).trace


# Each invariant can fail


SMALL = Plan(nodes=5, size=20 * MiB)


class Gullible(World):
    """Core takes whatever comes."""

    def accepts(self, *, right, asked, block):
        return True


class Mute(Swarm):
    """Answers nobody, and says nothing of it."""

    def on_asked(self, neighbour, request, cids):
        pass


class Forgetless(Swarm):
    """Keeps whoever is gone."""

    def on_closed(self, neighbour, reason):
        pass


class Hospitable(Swarm):
    """Takes anybody, however many there are."""

    def meet(self, link):
        options, self.options = self.options, dataclasses.replace(self.options, peers=1000)
        try:
            return super().meet(link)
        finally:
            self.options = options


def broken(plan, swarm=Swarm, world=World):
    """Runs with a part that is broken; gives what was found."""
    made = world(plan)
    made.make_swarm = swarm
    with pytest.raises(Broken) as found:
        made.run()
    assert f"seed {plan.seed}" in found.value.hint
    return found.value.message


def test_a_wrong_block_that_is_kept_is_seen():
    assert "wrong blocks" in broken(Plan(nodes=3, size=20 * MiB, liars=3), world=Gullible)


def test_a_swarm_that_answers_nobody_hangs_or_gives_up_without_need():
    assert "hangs" in broken(Plan(nodes=2, size=2 * MiB, wait_s=2.0), swarm=Mute)


def test_an_error_that_is_not_true_is_seen():
    class Hasty(World):
        def finished(self, node):
            super().finished(node)

        def _start(self, node):
            super()._start(node)
            if node.getting is not None:
                self.clock.after(2.0, self.lose_heart, node)

        def lose_heart(self, node):
            if node.getting is not None:
                node.getting.over = True
                node.gave_up("lost")

    assert "could give it what it lacks" in broken(SMALL, world=Hasty)


def test_a_peer_that_is_remembered_when_it_is_gone_is_seen():
    assert "remembers neighbours" in broken(SMALL, swarm=Forgetless)


def test_more_connections_than_allowed_are_seen():
    assert "connections of 8" in broken(Plan(nodes=12, size=20 * MiB, degree=1, followers=32), swarm=Hospitable, world=Crowded)


class Crowded(World):
    """A tracker that names everybody."""

    def sample(self, node, count):
        return [other for other in self._there if other is not node]


def test_more_answers_at_a_time_than_allowed_are_seen():
    class Eager(World):
        def finished(self, node):
            super().finished(node)
            node.serving_peak = 1000

    assert "1000 requests at a time" in broken(SMALL, world=Eager)


def test_a_freeloader_that_gives_is_seen():
    class Generous(World):
        def finished(self, node):
            super().finished(node)
            node.freeloads = True

    assert "was to give nothing" in broken(SMALL, world=Generous)


def test_bytes_that_come_twice_are_seen():
    class Forgetful(World):
        def finished(self, node):
            super().finished(node)
            node.twice += self.plan.size

    assert "bytes twice" in broken(SMALL, world=Forgetful)


def test_a_liar_that_nobody_blames_is_seen():
    class Lenient(World):
        def finished(self, node):
            super().finished(node)
            node.banned.clear()

    assert "blames nobody" in broken(Plan(nodes=3, size=20 * MiB, liars=3), world=Lenient)


def test_an_honest_node_that_is_blamed_is_seen():
    class Slanderous(World):
        def finished(self, node):
            super().finished(node)
            node.banned.add(self.origin.id)

    assert "honest nodes" in broken(SMALL, world=Slanderous)


# Bounds (issue 4)


def test_nine_liars_and_one_honest_slow_peer():
    outcome = live(Plan(nodes=1, size=20 * MiB, liars=9, origin_rate=1e6))
    assert outcome.complete == 1
    assert outcome.liars_found == 9
    assert outcome.wrong_bytes <= 9 * 2 * MiB
    assert outcome.last_s < 1.5 * outcome.ideal_s


@pytest.mark.slow
@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("at_s", [0.5, 1.5, 3.0])
def test_a_peer_that_is_killed_stalls_nobody_for_ten_seconds(at_s, silent):
    kills = (Kill(at_s, 2), Kill(at_s, 5))
    outcome = live(Plan(nodes=8, size=40 * MiB, kills=kills, silent=silent))
    assert outcome.complete >= 6
    assert outcome.stall_s <= 10.0


@pytest.mark.slow
def test_freeloaders_are_no_better_off_than_those_that_give():
    outcomes = [live(Plan(nodes=12, size=60 * MiB, freeloaders=4, seed=seed)) for seed in range(6)]
    givers = sum(outcome.givers_s for outcome in outcomes)
    assert sum(outcome.freeloaders_s for outcome in outcomes) >= 0.95 * givers


@pytest.mark.slow
def test_a_hundred_nodes_are_within_the_bounds():
    outcome = live(Plan(nodes=100, size=96 * MiB, degree=8))  # half of the usual degree is half of the work
    assert outcome.complete == 100
    assert outcome.copies <= 1.2
    assert outcome.last_s <= 3 * outcome.ideal_s
    assert outcome.jain > 0.9
    assert outcome.waste < 0.05
    assert outcome.to_json()["schema"] == "wherry/sim-fanout/1"


# The model


def test_an_uplink_is_shared_equally_by_what_is_under_way():
    clock, done = Clock(), []
    link = Uplink(clock, 10.0)
    link.send(10, lambda: done.append(("one", clock.now)))
    clock.at(0.5, lambda: link.send(10, lambda: done.append(("two", clock.now))))
    while clock.step():
        pass
    assert done == [("one", 1.5), ("two", 2.0)]
    assert link.moved == 20.0


def test_a_flow_that_is_cut_leaves_its_share_to_the_others():
    clock, done = Clock(), []
    link = Uplink(clock, 10.0)
    cut = link.send(10, lambda: done.append("cut"))
    link.send(10, lambda: done.append(clock.now))
    clock.at(1.0, lambda: done.append(link.cut(cut)))
    while clock.step():
        pass
    assert done == [5, 1.5]


def test_a_downlink_that_was_idle_adds_nothing_and_a_busy_one_waits():
    link = Downlink(10.0)
    assert link.take(5.0, 10) == 5.0
    assert link.take(5.0, 10) == 6.0


def test_jains_index():
    assert jain([]) == jain([3, 3, 3]) == 1.0
    assert jain([1, 0, 0, 0]) == 0.25


@pytest.mark.parametrize(
    "wrong", [{"nodes": 0}, {"size": 0}, {"rate": 0}, {"loss": 1.0}, {"freeloaders": 11}, {"liars": -1}, {"degree": 0}]
)
def test_a_plan_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(UsageError):
        Plan(**wrong)
