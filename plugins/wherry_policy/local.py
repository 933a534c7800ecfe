"""``local-first``: what lies near is not fetched from afar (specs/0017 §4).

For sites with many machines and one line out: far peers are asked only for what no near one has, or while none of them works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.abc.policy import Policy
from wherry_policy.fill import Filling

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from wherry.abc.policy import Assignment, JobView, SwarmView


class LocalFirst(Policy):
    """Near peers first, the least busy of them; then far ones, likewise."""

    def plan(self, view: SwarmView, rng: Random) -> Sequence[Assignment]:
        """See `Policy.plan`."""
        del rng
        peers = view.peers
        near = frozenset(
            place
            for place, peer in enumerate(peers)
            if peer.local and not peer.failures and (peer.slots > 0 or peer.working > 0)
        )

        def rank(peer: int, given: int) -> tuple[float, ...]:
            return not peers[peer].local, peers[peer].working + given, peer

        def spares(job: JobView, peer: int) -> bool:
            return not peers[peer].local and not near.isdisjoint(job.peers)

        return Filling(view, rank, spares=spares).plan()
