"""Whom to serve when many want to be: those that give, and one in hope (specs/0025 §4). Pure: times and chance come in.

The rule is BitTorrent's: Cohen, "Incentives Build Robustness in BitTorrent" (2003), and BEP 3. Every 10 s the peers that gave
most lately are unchoked, and one more by chance, which changes every 30 s; newcomers are three times as likely to be that
one, for they have nothing to give yet. A place that no giver takes is given by chance too, so a peer that is snubbed by all its
neighbours finds new ones. Unlike there, nobody is choked while few are interested, and never while the link idles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from wherry.swarm.options import SwarmOptions

RECHOKE_S: Final = 10.0  # BEP 3: "every 10 seconds", long enough for a transfer to reach its rate
OPTIMISTIC_S: Final = 30.0  # BEP 3: "every third rechoke", enough to be noticed and returned
TURN_S: Final = 60.0  # who was choked for so long has the next place in hope, before chance: so everybody has a turn
NEWCOMER_S: Final = 60.0  # a peer that is here for less is new
_NEWCOMER_WEIGHT: Final = 3  # BEP 3


@dataclass(slots=True, eq=False)
class Contender:
    """What counts of one peer; kept as long as it is connected."""

    met_at: float
    served_at: float = float("-inf")  # when it was not choked last; it is served when it comes
    interested: bool = False
    choked: bool = False  # by us
    gave: int = 0  # verified bytes since the last rechoke
    gave_before: int = 0  # in the interval before

    def __post_init__(self) -> None:
        """Whoever comes is not choked yet."""
        self.served_at = max(self.served_at, self.met_at)

    @property
    def recent(self) -> int:
        """Bytes that it gave in the last 10 to 20 s."""
        return self.gave + self.gave_before


class Choking:
    """Decides at each rechoke who is served until the next."""

    def __init__(self, options: SwarmOptions, rng: random.Random) -> None:
        self._options = options
        self._rng = rng
        self._at = float("-inf")
        self._hoped_at = float("-inf")
        self._hope: Contender | None = None

    def due(self, now: float) -> bool:
        """Tells whether it is time for `rechoke`."""
        return now - self._at >= RECHOKE_S

    def rechoke(self, peers: Sequence[Contender], now: float, *, seed: bool) -> None:
        """Sets ``choked`` of each peer; ``seed``: this node downloads nothing, and serves all by turns."""
        self._at = now
        for peer in peers:
            if not peer.choked:
                peer.served_at = now
        interested = [peer for peer in peers if peer.interested]
        if seed or len(interested) < self._options.choke_from:
            for peer in peers:
                peer.choked = False
        else:
            served = self._chosen(interested, now)
            for peer in peers:  # one that wants nothing now is told in time that it need not ask
                peer.choked = id(peer) not in served
        for peer in peers:
            peer.gave_before, peer.gave = peer.gave, 0

    def _chosen(self, interested: list[Contender], now: float) -> set[int]:
        givers = sorted((peer for peer in interested if peer.recent), key=lambda peer: -peer.recent)
        regular = givers[: self._options.regular]
        others = [peer for peer in interested if peer not in regular]
        if self._hope not in others or now - self._hoped_at >= OPTIMISTIC_S:
            self._hope, self._hoped_at = None, now
        places = self._options.regular - len(regular) + self._options.optimistic
        served = {id(peer) for peer in regular}
        if self._hope is not None:
            served.add(id(self._hope))
            others.remove(self._hope)
            places -= 1
        while places > 0 and others:
            picked = self._pick(others, now)
            self._hope = self._hope or picked
            others.remove(picked)
            served.add(id(picked))
            places -= 1
        return served

    def spare(self, peers: Sequence[Contender], now: float) -> Contender | None:
        """Unchokes one more, the best giver there is, because the link idles; None: nobody interested is choked."""
        choked = [peer for peer in peers if peer.choked and peer.interested]
        if not choked:
            return None
        best = max(choked, key=lambda peer: peer.recent)
        picked = best if best.recent else self._pick(choked, now)
        picked.choked = False
        return picked

    def _pick(self, peers: Sequence[Contender], now: float) -> Contender:
        """Draws one; but who was choked for long, longest of all, goes before chance."""
        longest = min(peers, key=lambda peer: peer.served_at)
        if now - longest.served_at >= TURN_S:
            return longest
        weights = [_NEWCOMER_WEIGHT if now - peer.met_at < NEWCOMER_S else 1 for peer in peers]
        return self._rng.choices(peers, weights)[0]
