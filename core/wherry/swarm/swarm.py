"""The swarm of one node: all its peers and the datasets it shares with them (specs/0025).

Transports bring peers and what they say (`wherry.abc.exchange`); whoever downloads enters the dataset and hears of its
peers; a clock calls `Swarm.tick` about ten times a second. Everything runs on the thread of one event loop and returns at
once; nothing here waits, reads a clock of its own, or opens anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from wherry.abc.exchange import Exchange, HaveMap
from wherry.errors import PeerBusy, PeerDenied
from wherry.limits import GOSSIP_ADDRESSES_MAX, SWARM_FOLLOWS_MAX
from wherry.stretches import Stretches
from wherry.swarm.dataset import Dataset, Listener
from wherry.swarm.entry import Entry
from wherry.swarm.gossip import EARLY_S, Hearsay, Told
from wherry.swarm.haves import coarsened
from wherry.swarm.neighbour import Neighbour
from wherry.swarm.options import SwarmOptions
from wherry.swarm.serving import Serving
from wherry.swarm.stats import stats_of
from wherry.swarm.telling import count_sent, refresh, show, show_more, tell_news

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from wherry.abc.exchange import PeerInfo, PeerLink
    from wherry.abc.transport import BlockSource
    from wherry.cid import CID
    from wherry.swarm.stats import SwarmStats

__all__ = ["BUSY", "Entry", "Listener", "Swarm"]

BUSY: Final = "busy"  # how the reason begins that a peer is told when it should come back later (PeerBusy)
_REFRESH_S: Final = 1.0  # between two looks at all that the followers of a revealed dataset have


class _Held(Protocol):
    def __call__(self, root: CID, /) -> tuple[int, bool] | None: ...


class Swarm(Exchange):
    """See `Exchange`. One for each node."""

    def __init__(
        self,
        source: BlockSource,
        addresses: Callable[[], Sequence[str]],
        held: _Held,
        *,
        clock: Callable[[], float],
        rng: random.Random,
        options: SwarmOptions | None = None,
        judge: Callable[[PeerInfo], str] = lambda _info: "",
    ) -> None:
        """``held`` gives the size of a dataset of which no download is under way, and whether all of it is here to be served;
        ``judge`` says why a peer is not wanted, "" if it is.
        """
        self.source = source
        self.options = options or SwarmOptions()
        self._addresses = addresses
        self._held = held
        self._clock = clock
        self._rng = rng
        self._judge = judge
        self._neighbours: dict[PeerLink, Neighbour] = {}
        self._datasets: dict[CID, Dataset] = {}
        self._hearsay = Hearsay()
        self._serving = Serving(self.options, clock, rng, self._neighbours, self._datasets)
        self._gossip_at = 0.0
        self._refresh_at = 0.0

    # What the node does

    def addresses(self) -> Sequence[str]:
        """See `Exchange.addresses`."""
        return self._addresses()

    def enter(self, root: CID, size: int, have: HaveMap, listener: Listener) -> Entry:
        """Begins a download of ``root``, of which ``have`` is here. Connected peers are asked at once.

        ``size`` in bytes; 0: not known yet, `Entry.sized` will say.
        """
        dataset = self._datasets.get(root)
        if dataset is None:
            dataset = self._new_dataset(root, size, have)
        else:
            for start, end in have.spans:
                dataset.news.gained(start, end)
        dataset.listeners.append(listener)
        for neighbour in self._neighbours.values():
            self._follow(neighbour, root)
        for neighbour in dataset.met:
            listener.met(neighbour.link, neighbour.link.info)
            if neighbour in dataset.maps:
                listener.has(neighbour.link, dataset.maps[neighbour], None)
            if neighbour.chokes:
                listener.choked(neighbour.link, True)
        return Entry(self, dataset, listener)

    def tick(self) -> None:
        """Does what time brings. About ten times a second."""
        now = self._clock()
        for dataset in self._datasets.values():
            if dataset.followers:
                tell_news(dataset, now)
                show_more(dataset, now, idle=self._serving.idle)
        if now - self._refresh_at >= _REFRESH_S:
            self._refresh_at = now
            for dataset in self._datasets.values():
                refresh(dataset)
        self._serving.tick(now)
        if now - self._gossip_at >= EARLY_S / 2:
            self._gossip_at = now
            self._gossip(now)

    def stats(self) -> SwarmStats:
        """Gives figures of this moment. Takes time in proportion to the peers and their maps: for people, not for each tick."""
        return stats_of(self)

    # What the engine says, through `Entry`

    def on_completed(self, dataset: Dataset) -> None:
        """A download has everything."""
        if not dataset.complete:
            dataset.news.complete = True
            dataset.news.flush()
            dataset.tell_all()

    def on_credit(self, link: PeerLink, count: int) -> None:
        """A peer gave verified bytes."""
        neighbour = self._neighbours.get(link)
        if neighbour is not None:
            neighbour.downloaded += count
            neighbour.contender.gave += count

    def on_left(self, dataset: Dataset, listener: Listener) -> None:
        """A download ended, complete or not."""
        dataset.listeners.remove(listener)
        if dataset.listeners:
            return
        held = self._held(dataset.root) if dataset.complete else None
        if held is None or not held[1]:
            dataset.news.spans, dataset.news.complete = Stretches(), False
            dataset.news.flush()
            dataset.reveal = None
            dataset.shown.clear()
            dataset.tell_all()
            self._drop(dataset)
        elif not dataset.followers:
            self._drop(dataset)

    # What peers say, through `Neighbour`

    def meet(self, link: PeerLink) -> Neighbour:
        """See `Exchange.meet`."""
        name = link.info.address or link.info.id or link.info.ip
        unwanted = self._judge(link.info)
        if unwanted:
            raise PeerDenied(unwanted, peer=name)
        if len(self._neighbours) >= self.options.peers:
            raise PeerBusy(f"{BUSY}: {self.options.peers} peers are connected", peer=name, hint="it may be tried again later")
        if self._serving.spent:
            raise PeerBusy(f"{BUSY}: this node has given what it may give", peer=name)
        neighbour = self._neighbours[link] = Neighbour(self, link, self._clock())
        for root, dataset in self._datasets.items():
            if dataset.listeners:
                self._follow(neighbour, root)
        return neighbour

    def on_follows(self, neighbour: Neighbour, root: CID) -> None:
        """A peer wants to be told what is here of ``root``."""
        if root in neighbour.following:
            return
        if len(neighbour.following) >= SWARM_FOLLOWS_MAX:
            neighbour.link.close(f"follows more than {SWARM_FOLLOWS_MAX} datasets")
            return
        neighbour.following.add(root)
        dataset = self._datasets.get(root)
        if dataset is None:
            held = self._held(root)
            if held is None or not held[1]:
                neighbour.link.tell_have(root, None)  # a relay that has it in its cache can be asked
                return
            dataset = self._new_dataset(root, held[0], HaveMap(Stretches(), complete=True))
        self._joined(neighbour, dataset)

    def on_unfollows(self, neighbour: Neighbour, root: CID) -> None:
        """It does not any more."""
        neighbour.following.discard(root)
        dataset = self._datasets.get(root)
        if dataset is not None:
            self._parted(neighbour, dataset)

    def on_has(self, neighbour: Neighbour, root: CID, have: HaveMap, gained: Sequence[tuple[int, int]] | None = None) -> None:
        """A peer says what it has."""
        dataset = self._datasets.get(root)
        if dataset is None or root not in neighbour.followed:
            return
        spans = coarsened(have.spans)
        if spans is not have.spans:
            have, gained = have._replace(spans=spans), None
        dataset.maps[neighbour] = have
        if dataset.listeners:
            self._introduce(neighbour, dataset)
            for listener in dataset.listeners:
                listener.has(neighbour.link, have, gained)
        shown = dataset.shown.get(neighbour)
        if shown is not None and dataset.reveal is not None and dataset.reveal.has(shown, have, self._clock()):
            show(neighbour, dataset, self._clock())

    def on_has_nothing(self, neighbour: Neighbour, root: CID) -> None:
        """A peer tells nothing; one that this node dialled can be asked all the same."""
        dataset = self._datasets.get(root)
        if dataset is not None and root in neighbour.followed and not neighbour.link.info.incoming:
            self._introduce(neighbour, dataset)

    def on_peers(self, neighbour: Neighbour, addresses: Sequence[str]) -> None:
        """A peer names others."""
        heard = self._hearsay.heard(addresses, neighbour.named, self._addresses(), self._clock())
        if not heard:
            return
        for dataset in self._datasets.values():
            if neighbour in dataset.maps or neighbour in dataset.followers:
                for listener in dataset.listeners:
                    listener.hints(heard, neighbour.link.info)

    def on_asked(self, neighbour: Neighbour, request: int, cids: Sequence[CID]) -> None:
        """A peer asks for blocks."""
        self._serving.asked(neighbour, request, cids)

    def on_cancelled(self, neighbour: Neighbour, request: int) -> None:
        """It does not want an answer any more."""
        self._serving.cancelled(neighbour, request)

    def on_answered(self, neighbour: Neighbour, request: int, sent: int) -> None:
        """An answer is over. What it was of is known where the peer follows one dataset alone."""
        self._serving.answered(neighbour, request, sent)
        dataset = self._datasets.get(next(iter(neighbour.following))) if sent and len(neighbour.following) == 1 else None
        if dataset is not None:
            count_sent(neighbour, dataset, sent, self._clock(), idle=self._serving.idle)

    def on_choked(self, neighbour: Neighbour, *, on: bool) -> None:
        """A peer answers nothing, or does again."""
        if neighbour.chokes == on:
            return
        neighbour.chokes = on
        for dataset in self._datasets.values():
            if neighbour in dataset.met:
                for listener in dataset.listeners:
                    listener.choked(neighbour.link, on)

    def on_closed(self, neighbour: Neighbour, reason: str) -> None:
        """A connection is gone."""
        if self._neighbours.pop(neighbour.link, None) is None:
            return
        self._hearsay.forget(neighbour.named)
        for dataset in list(self._datasets.values()):
            known = dataset.met.pop(neighbour, False) is None
            dataset.maps.pop(neighbour, None)
            self._parted(neighbour, dataset)
            if known:
                for listener in dataset.listeners:
                    listener.lost(neighbour.link, reason)
        self._serving.gone(neighbour)

    # Datasets and who follows them

    def _new_dataset(self, root: CID, size: int, have: HaveMap) -> Dataset:
        dataset = self._datasets[root] = Dataset(root, size, have)
        if have.complete and self.options.reveal:
            dataset.start_revealing(self._rng)
        for neighbour in self._neighbours.values():
            if root in neighbour.following:  # it asked before this node had anything of it
                self._joined(neighbour, dataset)
        return dataset

    def _drop(self, dataset: Dataset) -> None:
        if self._datasets.pop(dataset.root, None) is None:
            return
        for neighbour in self._neighbours.values():
            if dataset.root in neighbour.followed:
                neighbour.followed.discard(dataset.root)
                neighbour.link.unfollow(dataset.root)

    def _follow(self, neighbour: Neighbour, root: CID) -> None:
        if root not in neighbour.followed:
            neighbour.followed.add(root)
            neighbour.link.follow(root)

    def _joined(self, neighbour: Neighbour, dataset: Dataset) -> None:
        if neighbour in dataset.followers:
            return
        now = self._clock()
        if not self._room(dataset):
            self._send_on(neighbour, dataset)
            return
        dataset.followers[neighbour] = None
        dataset.told[neighbour] = Told(now)
        self._follow(neighbour, dataset.root)
        if dataset.reveal is not None:
            dataset.shown[neighbour] = dataset.reveal.join(dataset.maps.get(neighbour), now)
            dataset.reveal.onward(dataset.shown[neighbour], now)
        dataset.tell(neighbour)

    def _room(self, dataset: Dataset) -> bool:
        """Whether one more may follow a complete dataset; one that has everything makes room."""
        most = self.options.followers
        if not dataset.complete or not most or len(dataset.followers) < most:
            return True
        for neighbour in dataset.followers:
            have = dataset.maps.get(neighbour)
            if have is not None and have.complete:
                neighbour.link.close("has everything, and others wait")
                return True
        return False

    def _send_on(self, neighbour: Neighbour, dataset: Dataset) -> None:
        others = [other.link.info.address for other in dataset.members() if other.link.info.address and other is not neighbour]
        others.sort()  # a set's order is no seed's
        told = self._rng.sample(others, min(len(others), GOSSIP_ADDRESSES_MAX))
        if told:
            neighbour.link.tell_peers(told)
        neighbour.link.close(f"{BUSY}: {self.options.followers} peers fetch this dataset here; ask the others")

    def _parted(self, neighbour: Neighbour, dataset: Dataset) -> None:
        dataset.told.pop(neighbour, None)
        shown = dataset.shown.pop(neighbour, None)
        if shown is not None and dataset.reveal is not None:
            dataset.reveal.leave(shown)
        if dataset.followers.pop(neighbour, False) is None and not dataset.followers and not dataset.listeners:
            self._drop(dataset)

    def _introduce(self, neighbour: Neighbour, dataset: Dataset) -> None:
        if neighbour in dataset.met:
            return
        dataset.met[neighbour] = None
        for listener in dataset.listeners:
            listener.met(neighbour.link, neighbour.link.info)
            if neighbour.chokes:
                listener.choked(neighbour.link, True)

    def _gossip(self, now: float) -> None:
        for dataset in self._datasets.values():
            members: list[tuple[Neighbour, str]] | None = None
            for neighbour, told in dataset.told.items():
                if not told.due(now):
                    continue
                if members is None:
                    members = [(other, other.link.info.address) for other in dataset.members() if other.link.info.address]
                    members.sort(key=lambda pair: pair[1])  # a set's order is no seed's
                    self._rng.shuffle(members)
                fresh = told.news((address for other, address in members if other is not neighbour), now)
                if fresh:
                    neighbour.link.tell_peers(fresh)
