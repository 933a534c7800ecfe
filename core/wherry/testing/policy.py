"""The contract of a policy as tests (specs/0017 §2). Subclass, say how to make one, and let pytest run it::

    class TestAcmePolicy(PolicyContract):
        def make_policy(self):
            return AcmePolicy()

Most checks look at a few hundred views drawn from seeds: few and many peers, busy and free ones, jobs that only some may be
asked for, figures that are not known yet. `wherry.testing.swarm` shows how fast a transfer is with it.
"""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Final

from wherry.abc.policy import JobView, PeerView, SwarmView
from wherry.testing.expect import expect
from wherry.testing.swarm import Peer, live
from wherry.transfer.choice import lonely

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.abc.policy import Policy

VIEWS: Final = 300
MANY: Final = 1000  # peers
GROWTH_MAX: Final = 40.0  # of the time of a plan, for ten times the peers; comparing each with each gives 100
_ROUNDS: Final = 7


def view_of(rng: random.Random, peers: int, jobs: int) -> SwarmView:
    """Draws a view."""
    return SwarmView(
        now=rng.uniform(0.0, 1e5), peers=[_peer(rng, number) for number in range(peers)],
        jobs=sorted((_job(rng, peers) for _ in range(jobs)), key=lambda job: not job.urgent), more=rng.random() < 0.5,
    )  # fmt: skip


def _peer(rng: random.Random, number: int) -> PeerView:
    slots, working = rng.choice(((0, 4), (0, 0), (1, 0), (1, 3), (2, 2), (4, 0)))
    known = rng.random() < 0.7
    return PeerView(
        address=f"http://host{number}:4290", local=rng.random() < 0.3, slots=slots, working=working,
        rate=10 ** rng.uniform(3, 9) if known else 0.0, latency_s=10 ** rng.uniform(-4, 1) if known else 0.0,
        score=rng.choice((0.0, 0.1, 0.5, 0.5, 0.9, 1.0)), bytes=rng.randrange(1 << 40) if known else 0,
        jobs=rng.randrange(100) if known else 0, failures=rng.choice((0, 0, 0, 1, 9)), rejected=rng.choice((0, 0, 1, 50)),
    )  # fmt: skip


def _job(rng: random.Random, peers: int) -> JobView:
    able = frozenset(range(peers)) if rng.random() < 0.6 else frozenset(n for n in range(peers) if rng.random() < 0.4)
    return JobView(
        bytes=rng.choice((0, 1, 5000, 4 << 20, 4 << 20)), urgent=rng.random() < 0.2, age_s=10 ** rng.uniform(-3, 3), peers=able
    )


class PolicyContract(ABC):
    """What every policy must do."""

    @abstractmethod
    def make_policy(self) -> Policy:
        """Makes a policy."""

    def _planned(self) -> Iterator[tuple[SwarmView, list[tuple[int, int]]]]:
        """Gives views and what is planned for them. What there is not is left to the check that looks for it."""
        policy = self.make_policy()
        for seed in range(VIEWS):
            rng = random.Random(seed)
            view = view_of(rng, rng.choice((1, 2, 3, 5, 20)), rng.choice((1, 2, 5, 16, 32)))
            pairs = list(policy.plan(view, random.Random(seed)))
            yield view, [(job, peer) for job, peer in pairs if _is_there(view, job, peer)]

    def test_it_plans_what_there_is(self) -> None:
        """Pairs of whole numbers: a job and a peer of the view."""
        policy = self.make_policy()
        for seed in range(VIEWS):
            rng = random.Random(seed)
            view = view_of(rng, rng.randrange(1, 9), rng.randrange(1, 33))
            for pair in policy.plan(view, rng):
                expect(_is_there(view, *pair), f"{pair!r} is no job and peer of the view")

    def test_a_job_is_given_once(self) -> None:
        """No job is in two assignments."""
        for _, pairs in self._planned():
            given = [job for job, _ in pairs]
            expect(len(given) == len(set(given)), "a job is given twice")

    def test_no_peer_gets_more_than_its_slots(self) -> None:
        """A peer without slots gets nothing."""
        for view, pairs in self._planned():
            for number, peer in enumerate(view.peers):
                got = len({job for job, to in pairs if to == number})
                expect(got <= peer.slots, f"a peer with {peer.slots} slots is given {got} jobs")

    def test_a_job_goes_to_a_peer_that_may_have_it(self) -> None:
        """One of its ``peers``."""
        for view, pairs in self._planned():
            expect(
                all(peer in view.jobs[job].peers for job, peer in pairs), "a job is given to a peer that is not among its own"
            )

    def test_no_job_waits_for_nobody(self) -> None:
        """Where a peer is free for a job, the job is given to one, or another that may have it works."""
        for view, pairs in self._planned():
            allowed = [(job, peer) for job, peer in dict(pairs).items() if view.peers[peer].slots]
            job = lonely(view, allowed)
            expect(job is None, f"job {job} waits, no peer that may have it works, and one that may is free")

    def test_a_seed_gives_the_same_plan(self) -> None:
        """Chance comes from ``rng`` alone."""
        one, two = self.make_policy(), self.make_policy()
        for seed in range(VIEWS):
            view = view_of(random.Random(seed), 6, 12)
            plans = [list(policy.plan(view, random.Random(seed))) for policy in (one, two)]
            expect(plans[0] == plans[1], "the same view and seed give two plans")

    def test_it_keeps_nothing_between_calls(self) -> None:
        """A plan does not depend on the views that were seen before."""
        used = self.make_policy()
        for seed in range(VIEWS):
            view = view_of(random.Random(seed), 6, 12)
            used.plan(view, random.Random(seed))
            again, fresh = view_of(random.Random(0), 6, 12), self.make_policy()
            same = list(used.plan(again, random.Random(1))) == list(fresh.plan(again, random.Random(1)))
            expect(same, "a plan depends on what was asked before")

    def test_the_view_is_not_changed(self) -> None:
        """It belongs to core."""
        policy = self.make_policy()
        for seed in range(VIEWS):
            view, copy = (view_of(random.Random(seed), 6, 12) for _ in range(2))
            policy.plan(view, random.Random(seed))
            expect(view == copy, "the view is not what it was")

    def test_a_view_may_be_empty(self) -> None:
        """No peers, no jobs, or neither: nothing is planned."""
        policy, rng = self.make_policy(), random.Random(1)
        for view in (view_of(rng, 0, 0), view_of(rng, 5, 0), view_of(rng, 0, 5)):
            expect(not list(policy.plan(view, rng)), "something is planned where there is nothing")

    def test_figures_may_be_at_their_ends(self) -> None:
        """Nothing known of anybody, figures very small and very large: a plan all the same."""
        policy, rng = self.make_policy(), random.Random(1)
        ends: list[tuple[Any, ...]] = [(0.0, 0.0, 0.0), (1e-9, 1e9, 0.5), (1e18, 1e-9, 1.0)]
        for figures in (ends, ends[:1], ends[1:2], ends[2:]):
            for size in (0, 1, 1 << 60):
                for more in (True, False):
                    peers = [PeerView(f"http://host{n}:1", False, 2, 1, *figure) for n, figure in enumerate(figures)]
                    jobs = [JobView(size, False, 1e9, frozenset(range(len(peers)))) for _ in range(9)]
                    policy.plan(SwarmView(0.0, peers, jobs, more), rng)

    def test_a_transfer_ends(self) -> None:
        """Whole transfers from good, slow, failing, lying and poor peers, and core never has to do without the policy."""
        good, slow, failing, lying = Peer(20e6), Peer(1e6, 0.2), Peer(10e6, fails=0.3), Peer(30e6, corrupts=0.5)
        poor, near = Peer(20e6, has=0.3), Peer(5e6, local=True)
        for number, peers in enumerate(([good], [good, slow], [slow, failing, good], [lying, good, poor, near], [poor, near])):
            lived = live(self.make_policy(), peers, jobs=700, seed=number)
            expect(not lived.complaints, f"in a transfer from {peers} it {lived.complaints}")
            expect(not lived.verdict, f"a transfer from {peers} ends as {lived.verdict!r}")

    def test_it_bears_a_thousand_peers(self) -> None:
        """Ten times the peers take not much more than ten times as long: core asks about once a job."""
        small, large = self._cost(MANY // 10), self._cost(MANY)
        expect(large <= GROWTH_MAX * small, f"a plan for {MANY} peers takes {large / small:.0f} times that for {MANY // 10}")

    def _cost(self, peers: int) -> float:
        policy = self.make_policy()
        views = [view_of(random.Random(seed), peers, 32) for seed in range(3)]
        costs = []
        for _ in range(_ROUNDS):  # the least is what it costs; the others were disturbed
            before = time.thread_time()
            for view in views:
                policy.plan(view, random.Random(1))
            costs.append(time.thread_time() - before)
        return max(min(costs), 1e-5)


def _is_there(view: SwarmView, job: object, peer: object) -> bool:
    return type(job) is int and type(peer) is int and 0 <= job < len(view.jobs) and 0 <= peer < len(view.peers)
