"""``round-robin`` and ``random``: policies that measure nothing (specs/0017 §4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.abc.policy import Policy
from wherry_policy.fill import Filling

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from wherry.abc.policy import Assignment, SwarmView


class RoundRobin(Policy):
    """Each job to the free peer that was given the fewest so far."""

    def plan(self, view: SwarmView, rng: random.Random) -> Sequence[Assignment]:
        """See `Policy.plan`."""
        del rng
        return Filling(view, lambda peer, given: view.peers[peer].jobs + given).plan()


class Random(Policy):
    """Each job to a free peer by chance."""

    def plan(self, view: SwarmView, rng: random.Random) -> Sequence[Assignment]:
        """See `Policy.plan`."""

        def rank(peer: int, given: int) -> float:
            del peer, given
            return rng.random()

        return Filling(view, rank).plan()
