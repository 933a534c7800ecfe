"""One dataset in the swarm: what this node has of it, who follows it, and who has what of it (specs/0025 §2). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from wherry.abc.exchange import HaveMap
from wherry.swarm.haves import News
from wherry.swarm.reveal import Reveal

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from wherry.abc.exchange import PeerInfo, PeerLink
    from wherry.cid import CID
    from wherry.flow import Flow
    from wherry.swarm.gossip import Told
    from wherry.swarm.neighbour import Neighbour
    from wherry.swarm.reveal import Shown


class Listener(Protocol):
    """Who downloads a dataset, as the swarm sees it. Called on the loop's thread; returns at once and raises nothing."""

    def met(self, link: PeerLink, peer_info: PeerInfo) -> None:
        """A peer of the dataset is connected, whoever dialled; it can be asked over ``link.channel``."""

    def has(self, link: PeerLink, have: HaveMap, gained: Sequence[tuple[int, int]] | None) -> None:
        """It says what it has, all of it; ``have.spans`` goes on growing with it and must not be changed.

        ``gained`` is what is new in it, where that is all that changed.
        """

    def choked(self, link: PeerLink, on: bool) -> None:
        """It answers no requests until further notice, or does again."""

    def lost(self, link: PeerLink, reason: str) -> None:
        """Its connection is gone."""

    def hints(self, addresses: Sequence[str], by: PeerInfo) -> None:
        """A peer named others: few, each once in a while, and to be dialled within the address policy."""


class Dataset:
    """What is kept of one dataset while somebody here downloads it, or a peer follows it."""

    __slots__ = ("flows", "followers", "listeners", "maps", "met", "news", "reveal", "root", "sent", "shown", "told")

    def __init__(self, root: CID, size: int, have: HaveMap) -> None:
        self.root = root
        self.news = News(size, have)
        self.listeners: list[Listener] = []  # one for each get of it that is under way
        self.flows: dict[Listener, Flow] = {}  # what each of them may use of the link
        self.followers: dict[Neighbour, None] = {}  # who is told what this node has
        self.maps: dict[Neighbour, HaveMap] = {}  # who has what
        self.met: dict[Neighbour, None] = {}  # whom the listeners know
        self.told: dict[Neighbour, Told] = {}  # which others each follower was told of
        self.reveal: Reveal | None = None
        self.shown: dict[Neighbour, Shown] = {}
        self.sent = 0  # bytes given to peers, as far as it is known which dataset they were of

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.news.size

    @property
    def complete(self) -> bool:
        """Whether this node has everything."""
        return self.news.complete

    def start_revealing(self, rng: random.Random) -> None:
        """Begins to show it piece by piece."""
        if self.size:
            self.reveal = Reveal(self.size, rng)

    def neighbour_of(self, shown: Shown) -> Neighbour:
        """Gives the follower that was ``shown`` so much."""
        return next(neighbour for neighbour, other in self.shown.items() if other is shown)

    def stale(self) -> list[tuple[Dataset, Neighbour]]:
        """Gives the followers of which not all was looked at that they have, where it decides what any is shown."""
        stale = ((one, shown) for one, shown in self.shown.items() if shown.stale and not shown.done)
        return [(self, one) for one, shown in stale if shown.mute or not shown.open]

    def reachable(self) -> list[tuple[Neighbour, str]]:
        """Gives the connected peers that have to do with it and can be dialled, with their addresses and in their order."""
        members = self.followers.keys() | self.maps.keys()
        named = [(member, member.link.info.address) for member in members if member.link.info.address]
        return sorted(named, key=lambda pair: pair[1])  # a set's order is no seed's

    def has_of(self, neighbour: Neighbour) -> int:
        """Gives the bytes of it that a peer has, as it says."""
        have = self.maps[neighbour]
        return self.size if have.complete else have.spans.total

    # Who listens

    def introduce(self, neighbour: Neighbour) -> None:
        """Tells all who download it of a peer, once."""
        if neighbour in self.met:
            return
        self.met[neighbour] = None
        for listener in tuple(self.listeners):
            listener.met(neighbour.link, neighbour.link.info)
            if neighbour.chokes:
                listener.choked(neighbour.link, True)

    def introduce_to(self, listener: Listener, neighbour: Neighbour) -> None:
        """Tells one who begins to download it of a peer, and of all that it said."""
        listener.met(neighbour.link, neighbour.link.info)
        if neighbour in self.maps:
            listener.has(neighbour.link, self.maps[neighbour], None)
        if neighbour.chokes:
            listener.choked(neighbour.link, True)

    # What followers are told

    def tell(self, neighbour: Neighbour, gained: Sequence[tuple[int, int]] | None = None) -> None:
        """Tells a follower what this node has, or of that only what it ``gained``."""
        shown = self.shown.get(neighbour)
        if shown is None or shown.open or shown.done:
            neighbour.link.tell_have(self.root, self.news.map, gained)
        else:
            neighbour.link.tell_have(self.root, HaveMap(shown.spans, complete=True, choosy=True), gained)

    def tell_all(self) -> None:
        """Tells all followers all that this node has."""
        for neighbour in tuple(self.followers):
            self.tell(neighbour)

    def tell_news(self, now: float) -> None:
        """Tells all followers what was gained, if it is time to."""
        gained = self.news.due(now, len(self.followers))
        if gained:
            have = self.news.map
            for neighbour in tuple(self.followers):
                neighbour.link.tell_have(self.root, have, gained)

    def kept(self, have: HaveMap) -> None:
        """What is not complete ends: of it ``have`` stays here. All followers are told."""
        self.news.kept(have)
        self.tell_all()

    def emptied(self) -> None:
        """Nothing of it can be given any more. All followers are told."""
        self.news.emptied()
        self.reveal = None
        self.shown.clear()
        self.tell_all()
