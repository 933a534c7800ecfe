"""``reputation``, the default: whoever was of more use is asked for more (specs/0017 §4).

Free slots are filled, so no capacity is left lying; but a peer that was proven to send wrong bytes, or fails most of the
time, gets only what no better peer can give. The last jobs are laid where they end earliest, as ``fastest`` does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.abc.policy import Policy
from wherry_policy.fastest import ends
from wherry_policy.fill import Filling

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from wherry.abc.policy import Assignment, JobView, SwarmView


class Reputation(Policy):
    """Shares jobs out by score and load, the last ones by time."""

    def __init__(self, poor: float) -> None:
        """``poor``: below this score a peer is spared while a better one works."""
        self._poor = poor

    def plan(self, view: SwarmView, rng: Random) -> Sequence[Assignment]:
        """See `Policy.plan`."""
        del rng
        peers, poor = view.peers, self._poor
        sound = frozenset(
            place for place, peer in enumerate(peers) if peer.score >= poor and (peer.slots > 0 or peer.working > 0)
        )

        def rank(peer: int, given: int) -> float:
            return -peers[peer].score / (1 + peers[peer].working + given)

        def spares(job: JobView, peer: int) -> bool:
            return peers[peer].score < poor and not sound.isdisjoint(job.peers)

        if not view.more:
            return Filling(view, ends(view), spares=spares, ahead=True).plan()
        return Filling(view, rank, spares=spares).plan()
