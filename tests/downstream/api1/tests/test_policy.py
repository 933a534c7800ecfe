"""What the contract does not ask: who is preferred."""

from __future__ import annotations

from random import Random

from wherry.abc.policy import JobView, PeerView, SwarmView

from acme_api1.policy.policy import SoonestPolicy


def peer(name: str, *, slots: int = 4, rate: float = 1e6, score: float = 0.5) -> PeerView:
    return PeerView(name, local=False, slots=slots, working=0, rate=rate, latency_s=0.01, score=score)


def chosen(peers: list[PeerView], jobs: int = 1) -> list[str]:
    view = SwarmView(0.0, peers, [JobView(1 << 20, False, 0.0, frozenset(range(len(peers))))] * jobs)
    return [peers[one.peer].address for one in SoonestPolicy(16e6).plan(view, Random(1))]


def test_the_faster_one_is_asked() -> None:
    assert chosen([peer("slow"), peer("fast", rate=1e7)]) == ["fast"]


def test_of_equally_fast_ones_the_better_one_is_asked() -> None:
    assert chosen([peer("bad", score=0.1), peer("good", score=0.9)]) == ["good"]


def test_the_slower_one_is_asked_when_the_faster_one_is_busy() -> None:
    assert chosen([peer("slow"), peer("fast", rate=1e7, slots=1)], jobs=2) == ["fast", "slow"]
