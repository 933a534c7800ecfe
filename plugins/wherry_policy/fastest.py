"""``fastest``: each job where it will be done first (specs/0017 §4).

While more jobs come, every free slot is worth filling. For the last ones it is not: a slow peer that takes one more job may
be what everybody waits for in the end. Then each job is laid, in order, where it ends earliest, slots that are still busy
included (list scheduling; Graham, "Bounds on Multiprocessing Timing Anomalies", 1969), and waits if that is no free one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.abc.policy import Policy
from wherry_policy.fill import Filling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from wherry.abc.policy import Assignment, SwarmView

_SIZE: Final = 1 << 20  # bytes of a job whose size is not known


def ends(view: SwarmView) -> Callable[[int, int], tuple[float, ...]]:
    """Gives the rank of a peer that was given so many jobs: the seconds until one more job would be done there."""
    peers = view.peers
    size = sum(job.bytes for job in view.jobs) / max(1, len(view.jobs)) or _SIZE
    best = max((peer.rate for peer in peers), default=0.0) or 1.0
    # A newcomer passes for as fast as the best: how else would it show what it can do?
    # One that fails is as slow as if it had to try so often.
    seconds = [(peer.latency_s + size / (peer.rate or best)) * 2 ** min(peer.failures, 16) for peer in peers]

    def rank(peer: int, given: int) -> tuple[float, ...]:
        beyond = given - peers[peer].slots
        if beyond < 0:
            return seconds[peer], given + peers[peer].working
        # Its slots become free one after the other, evenly spread over the time that a job takes.
        return seconds[peer] * (1 + (beyond + 1) / (peers[peer].slots + peers[peer].working)), 0.0

    return rank


class Fastest(Policy):
    """Goes by rate and latency alone."""

    def plan(self, view: SwarmView, rng: Random) -> Sequence[Assignment]:
        """See `Policy.plan`."""
        del rng
        return Filling(view, ends(view), ahead=not view.more).plan()
