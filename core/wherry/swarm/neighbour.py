"""One connected peer, as core sees it: takes what the transport says it said, and hands it to the swarm (specs/0025). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.abc.exchange import Peer
from wherry.dial import is_near
from wherry.swarm.choking import Contender
from wherry.swarm.uploads import Line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.exchange import HaveMap, PeerLink
    from wherry.cid import CID
    from wherry.swarm.swarm import Swarm


class Neighbour(Peer):
    """See `Peer`. Everything that is remembered of a peer hangs here, and goes with it."""

    __slots__ = (
        "chokes", "contender", "downloaded", "followed", "following", "line", "link", "met_at", "named", "near", "swarm",
        "uploaded",
    )  # fmt: skip

    def __init__(self, swarm: Swarm, link: PeerLink, now: float) -> None:
        self.swarm = swarm
        self.link = link
        self.met_at = now
        self.named = link.info.id or link.info.ip or link.info.address  # whose hearsay it is
        self.near = is_near(f"peer://[{link.info.ip}]")  # on this machine, or in a private network
        self.following: set[CID] = set()  # datasets that it wants to be told of
        self.followed: set[CID] = set()  # datasets that it was asked to tell of
        self.chokes = False  # it answers nothing
        self.uploaded = 0  # bytes of blocks that this node gave it
        self.downloaded = 0  # verified bytes that it gave
        self.line: Line[Neighbour] = Line(self)
        self.contender = Contender(now)

    def follow(self, root: CID) -> None:
        """Asks it to tell what it has of ``root``, once."""
        if root not in self.followed:
            self.followed.add(root)
            self.link.follow(root)

    def follows(self, root: CID) -> None:
        """See `Peer.follows`."""
        self.swarm.on_follows(self, root)

    def unfollows(self, root: CID) -> None:
        """See `Peer.unfollows`."""
        self.swarm.on_unfollows(self, root)

    def has(self, root: CID, have: HaveMap, gained: Sequence[tuple[int, int]] | None = None) -> None:
        """See `Peer.has`."""
        self.swarm.on_has(self, root, have, gained)

    def size(self, root: CID) -> int:
        """See `Peer.size`."""
        return self.swarm.size(root)

    def has_nothing(self, root: CID) -> None:
        """See `Peer.has_nothing`."""
        self.swarm.on_has_nothing(self, root)

    def peers(self, addresses: Sequence[str]) -> None:
        """See `Peer.peers`."""
        self.swarm.on_peers(self, addresses)

    def asked(self, request: int, cids: Sequence[CID]) -> None:
        """See `Peer.asked`."""
        self.swarm.on_asked(self, request, cids)

    def cancelled(self, request: int) -> None:
        """See `Peer.cancelled`."""
        self.swarm.on_cancelled(self, request)

    def answered(self, request: int, sent: int) -> None:
        """See `Peer.answered`."""
        self.swarm.on_answered(self, request, sent)

    def choked(self, *, on: bool) -> None:
        """See `Peer.choked`."""
        self.swarm.on_choked(self, on=on)

    def closed(self, reason: str) -> None:
        """See `Peer.closed`."""
        self.swarm.on_closed(self, reason)
