"""What the policies come to, on a virtual clock: who is asked for how much, and how much of what there is they use."""

from __future__ import annotations

import pytest

from wherry.limits import BUFFER_BYTES
from wherry.testing.swarm import Peer, live
from wherry_policy.even import Random, RoundRobin
from wherry_policy.fastest import Fastest
from wherry_policy.local import LocalFirst
from wherry_policy.reputation import Reputation

pytestmark = pytest.mark.uncounted  # coverage would double its time, and adds few lines

MB = 1e6
UNEVEN = [Peer(100 * MB), Peer(50 * MB), Peer(20 * MB), Peer(10 * MB)]  # 10:5:2:1


def share_of(lived, peer):
    return lived.given[peer] / sum(lived.given)


def used(policy, peers, jobs, seed=0):
    """Which part of what all peers can send together was used."""
    lived = live(policy, peers, jobs=jobs, seed=seed)
    assert not lived.verdict
    assert not lived.complaints
    return jobs * BUFFER_BYTES / lived.seconds / sum(peer.rate for peer in peers)


@pytest.mark.parametrize("corrupts", [1.0, 0.5, 0.3, 0.15])
@pytest.mark.parametrize("seed", range(5))
def test_reputation_asks_a_corrupting_peer_for_less_than_a_twentieth(corrupts, seed):
    lived = live(Reputation(0.25), [Peer(20 * MB), Peer(20 * MB), Peer(100 * MB, corrupts=corrupts)], jobs=1000, seed=seed)
    assert not lived.verdict
    assert share_of(lived, 2) < 0.05


def test_without_a_policy_it_would_be_asked_for_more():
    peers = [Peer(20 * MB), Peer(20 * MB), Peer(100 * MB, corrupts=0.3)]
    assert share_of(live(None, peers, jobs=1000), 2) > 0.3
    assert live(Reputation(0.25), peers, jobs=1000).wrong * 10 < live(None, peers, jobs=1000).wrong


def test_reputation_forgives_a_line_that_flips_a_bit_now_and_then():
    lived = live(Reputation(0.25), [Peer(20 * MB), Peer(20 * MB), Peer(100 * MB, corrupts=0.003)], jobs=1000)
    assert share_of(lived, 2) > 0.6


def test_reputation_asks_a_corrupting_peer_for_what_nobody_else_has():
    lived = live(Reputation(0.25), [Peer(20 * MB, has=0.5), Peer(20 * MB, corrupts=0.3)], jobs=200)
    assert not lived.verdict


@pytest.mark.parametrize("policy", [Fastest(), Reputation(0.25)])
def test_nine_tenths_of_uneven_peers_are_used(policy):
    assert used(policy, UNEVEN, 400) >= 0.9
    assert used(policy, UNEVEN, 1000) >= 0.95


@pytest.mark.parametrize("jobs", [40, 60, 200, 400])
def test_the_end_is_sooner_when_slow_peers_take_none_of_the_last_jobs(jobs):
    assert used(Fastest(), UNEVEN, jobs) >= used(None, UNEVEN, jobs)
    assert used(Reputation(0.25), UNEVEN, jobs) >= used(None, UNEVEN, jobs)


@pytest.mark.parametrize("policy", [Reputation(0.25), Fastest(), RoundRobin(), Random()])
def test_alike_peers_are_asked_for_as_much(policy):
    lived = live(policy, [Peer(20 * MB)] * 5, jobs=1000)
    assert max(lived.given) - min(lived.given) < 60


def test_local_first_leaves_far_peers_alone_while_a_near_one_works():
    lived = live(LocalFirst(), [Peer(100 * MB), Peer(10 * MB, local=True)], jobs=300)
    assert lived.given == [0, 300]
    lived = live(LocalFirst(), [Peer(100 * MB), Peer(10 * MB, local=True, has=0.5)], jobs=300)
    assert not lived.verdict
    assert 100 < lived.given[0] < 200  # what the near one does not have
