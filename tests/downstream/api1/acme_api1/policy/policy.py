"""The policy: a pure function of what is known of peers and jobs. wherry checks what it assigns, and verifies what comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.abc.policy import Assignment, Policy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from wherry.abc.policy import PeerView, SwarmView


class SoonestPolicy(Policy):
    """Each job, in the order in which they are wanted, goes to the peer that should be done with it first."""

    def __init__(self, newcomer_rate: float) -> None:
        self._newcomer_rate = newcomer_rate

    def plan(self, view: SwarmView, rng: Random) -> Sequence[Assignment]:
        """See `Policy.plan`."""
        slots = [peer.slots for peer in view.peers]
        plan = []
        for number, job in enumerate(view.jobs):
            able = [index for index in sorted(job.peers) if slots[index] > 0]
            if able:
                chosen = min(able, key=lambda index: (self._seconds(view.peers[index], job.bytes), rng.random()))
                slots[chosen] -= 1
                plan.append(Assignment(number, chosen))
        return plan

    def _seconds(self, peer: PeerView, count: int) -> float:
        """How long ``peer`` should take for ``count`` bytes; a bad reputation makes it longer."""
        rate = peer.rate or self._newcomer_rate
        return (peer.latency_s + count / rate) / max(peer.score, 0.01)
