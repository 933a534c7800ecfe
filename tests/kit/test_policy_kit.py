"""The contract of policies catches what it is there to catch: for each check there is a policy that fails it, and no other."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from wherry.abc.policy import Policy
from wherry.testing.checks import checks, failing
from wherry.testing.policy import PolicyContract
from wherry_policy.even import RoundRobin

ODD = 5000  # bytes of jobs that are in drawn views, and in no whole transfer


class AtTimes(RoundRobin):
    """Behaves well, but for views with many jobs of an odd size."""

    def plan(self, view, rng):
        pairs = list(super().plan(view, rng))
        return self.spoil(view, pairs) if sum(job.bytes == ODD for job in view.jobs) >= 5 else pairs

    def left(self, view, pairs):
        """Jobs and peers that are not paired, and how many slots the peer has left."""
        used = Counter(peer for _, peer in pairs)
        given = {job for job, _ in pairs}
        for job in range(len(view.jobs)):
            if job not in given:
                for peer, seen in enumerate(view.peers):
                    yield job, peer, seen.slots - used[peer]


class PlansForNobody(AtTimes):
    def spoil(self, view, pairs):
        return [*pairs, (0, len(view.peers))]


class CountsFromTheEnd(AtTimes):
    def spoil(self, view, pairs):
        return [*pairs, (-1, 0)]


class GivesTwice(AtTimes):
    def spoil(self, view, pairs):
        return pairs + pairs[:1]


class OverloadsThem(AtTimes):
    def spoil(self, view, pairs):
        more = [
            (job, peer)
            for job, peer, _ in self.left(view, pairs)
            if not view.peers[peer].slots and peer in view.jobs[job].peers
        ]
        return pairs + more[:1]


class AsksWhoMayNot(AtTimes):
    def spoil(self, view, pairs):
        more = [(job, peer) for job, peer, slots in self.left(view, pairs) if slots and peer not in view.jobs[job].peers]
        return pairs + more[:1]


class WaitsForNobody(AtTimes):
    def spoil(self, view, pairs):
        return []


class DrawsItsOwnChance(AtTimes):
    def spoil(self, view, pairs):
        return random.Random().sample(pairs, len(pairs))


class RemembersTheLastCall(RoundRobin):
    turn = False

    def plan(self, view, rng):
        self.turn = not self.turn
        pairs = list(super().plan(view, rng))
        return pairs[::-1] if self.turn else pairs


class WritesIntoTheView(AtTimes):
    def spoil(self, view, pairs):
        view.jobs[0] = view.jobs[0]._replace(age_s=0.0)
        return pairs


class NeedsAPeer(RoundRobin):
    def plan(self, view, rng):
        max(peer.rate for peer in view.peers)
        return super().plan(view, rng)


class NeedsFiguresOfItsKind(RoundRobin):
    def plan(self, view, rng):
        if any(peer.rate > 1e15 for peer in view.peers):
            raise OverflowError
        return super().plan(view, rng)


class StopsInTheMiddle(RoundRobin):
    def plan(self, view, rng):
        return [] if any(peer.jobs > 300 for peer in view.peers) else super().plan(view, rng)


class ComparesEachWithEach(RoundRobin):
    def plan(self, view, rng):
        sum(one.rate > other.rate for one in view.peers for other in view.peers)
        return super().plan(view, rng)


BROKEN = [
    (PlansForNobody, "test_it_plans_what_there_is"),
    (CountsFromTheEnd, "test_it_plans_what_there_is"),
    (GivesTwice, "test_a_job_is_given_once"),
    (OverloadsThem, "test_no_peer_gets_more_than_its_slots"),
    (AsksWhoMayNot, "test_a_job_goes_to_a_peer_that_may_have_it"),
    (WaitsForNobody, "test_no_job_waits_for_nobody"),
    (DrawsItsOwnChance, "test_a_seed_gives_the_same_plan"),
    (RemembersTheLastCall, "test_it_keeps_nothing_between_calls"),
    (WritesIntoTheView, "test_the_view_is_not_changed"),
    (NeedsAPeer, "test_a_view_may_be_empty"),
    (NeedsFiguresOfItsKind, "test_figures_may_be_at_their_ends"),
    (StopsInTheMiddle, "test_a_transfer_ends"),
    (ComparesEachWithEach, "test_it_bears_a_thousand_peers"),
]


def suite_of(policy):
    return type("Suite", (PolicyContract,), {"make_policy": lambda self: policy()})()


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=[cls.__name__ for cls, _ in BROKEN])
def test_exactly_its_check_fails(broken, check, tmp_path):
    assert failing(suite_of(broken), tmp_path) == {check}


def test_every_check_has_a_broken_policy():
    assert {check for _, check in BROKEN} == checks(PolicyContract)


def test_one_that_does_nothing_is_seen_at_once(tmp_path):
    class Nothing(Policy):
        def plan(self, view, rng):
            return []

    assert failing(suite_of(Nothing), tmp_path) == {"test_no_job_waits_for_nobody", "test_a_transfer_ends"}
