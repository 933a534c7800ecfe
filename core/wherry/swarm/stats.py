"""Figures of the swarm at one moment, for `wherry status`, `peers` and `why` (specs/0025)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wherry.abc.exchange import PeerInfo
    from wherry.cid import CID


@dataclass(frozen=True, slots=True)
class PeerStats:
    """One connected peer."""

    info: PeerInfo
    since: float  # when it was met, by the swarm's clock
    uploaded: int  # bytes that this node gave it
    downloaded: int  # verified bytes that it gave
    choking: bool  # this node answers it nothing
    choked: bool  # it answers this node nothing
    interested: bool  # it lacks something that this node has
    waiting: int  # requests of its that wait
    serving: int  # requests of its that are being answered
    has: dict[CID, int]  # dataset -> bytes of it that it has, as it says


@dataclass(frozen=True, slots=True)
class DatasetStats:
    """One dataset that is downloaded here, or followed by a peer."""

    root: CID
    size: int
    complete: bool
    revealing: bool  # it is shown piece by piece
    followers: int  # peers that are told what this node has
    peers: int  # peers that say to have something of it
    sent: int  # bytes of it that this node gave to peers

    @property
    def copies(self) -> float:
        """How many copies of the dataset this node sent."""
        return self.sent / self.size if self.size else 0.0


@dataclass(frozen=True, slots=True)
class SwarmStats:
    """All of it."""

    peers: list[PeerStats] = field(default_factory=list)
    datasets: list[DatasetStats] = field(default_factory=list)
    uploaded: int = 0  # bytes given since the node began
