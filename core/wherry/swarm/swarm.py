"""The swarm of one node: all its peers and the datasets it shares with them (specs/0025).

Transports bring peers and what they say (`wherry.abc.exchange`); whoever downloads enters the dataset and hears of its
peers; a clock calls `Swarm.tick` about ten times a second. Everything runs on the thread of one event loop and returns at
once; nothing here waits, reads a clock of its own, or opens anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.abc.exchange import Exchange
from wherry.errors import PeerBusy, PeerDenied
from wherry.flow import FREE
from wherry.limits import SWARM_FOLLOWS_MAX
from wherry.swarm.dataset import Listener
from wherry.swarm.entry import Entry
from wherry.swarm.gossip import Hearsay
from wherry.swarm.haves import coarsened
from wherry.swarm.neighbour import Neighbour
from wherry.swarm.options import SwarmOptions
from wherry.swarm.service import Service
from wherry.swarm.shared import BUSY, Shared
from wherry.swarm.stats import DatasetStats, PeerStats, SwarmStats

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from wherry.abc.exchange import HaveMap, PeerInfo, PeerLink
    from wherry.abc.transport import BlockSource
    from wherry.cid import CID
    from wherry.flow import Flow
    from wherry.swarm.dataset import Dataset
    from wherry.swarm.shared import Held

__all__ = ["BUSY", "Entry", "Listener", "Swarm"]


class Swarm(Exchange):
    """See `Exchange`. One for each node."""

    def __init__(
        self,
        source: BlockSource,
        addresses: Callable[[], Sequence[str]],
        held: Held,
        *,
        clock: Callable[[], float],
        rng: random.Random,
        options: SwarmOptions | None = None,
        judge: Callable[[PeerInfo], str] = lambda _info: "",
        parted: Callable[[PeerInfo, int], None] = lambda _info, _given: None,
        flow: Flow = FREE,
    ) -> None:
        """``held`` tells of datasets of which no download is under way.

        ``judge`` says why a peer is not wanted, "" if it is. ``parted`` is told of each that leaves, and how many bytes it got.
        ``flow`` is of what this node gives besides what its downloads give on.
        """
        self.source = source
        self.options = options or SwarmOptions()
        self._addresses = addresses
        self._clock = clock
        self._judge = judge
        self._parted = parted
        self._neighbours: dict[PeerLink, Neighbour] = {}
        self._shared = Shared(self._neighbours, held, self.options, rng, flow)
        self._service = Service(self._neighbours, self._shared, self.options, rng, clock())
        self._hearsay = Hearsay()

    # What the node does

    def addresses(self) -> Sequence[str]:
        """See `Exchange.addresses`."""
        return self._addresses()

    def enter(self, root: CID, size: int, have: HaveMap, listener: Listener, flow: Flow = FREE) -> Entry:
        """Begins a download of ``root``, of which ``have`` is here. Connected peers are asked at once, but
        for those that were dialled for another download.

        ``size`` in bytes; 0: not known yet, `Entry.sized` will say. ``flow`` is of the download: those that it gives to have
        their turns by its class.
        """
        dataset = self._shared.enter(root, size, have, self._clock())
        dataset.listeners.append(listener)
        dataset.flows[listener] = flow
        alone = not self._fetches_more_than(dataset)
        for neighbour in tuple(self._neighbours.values()):
            if neighbour.link.info.incoming or alone:
                neighbour.follow(root)
        for neighbour in tuple(dataset.met):
            dataset.introduce_to(listener, neighbour)
        return Entry(self, dataset, listener)

    def tick(self) -> None:
        """Does what time brings. About ten times a second."""
        now = self._clock()
        self._shared.tick(now, idle=self._service.idle)
        self._service.tick(now)

    def judge_again(self) -> None:
        """Ends the connections to peers that are not wanted any more."""
        for link in tuple(self._neighbours):
            if unwanted := self._judge(link.info):
                link.close(unwanted)

    def stats(self) -> SwarmStats:
        """Gives figures of this moment. Takes time in proportion to the peers and their maps: for people, not for each tick."""
        peers = [
            PeerStats(
                info=neighbour.link.info,
                since=neighbour.met_at,
                uploaded=neighbour.uploaded,
                downloaded=neighbour.downloaded,
                choking=neighbour.contender.choked,
                choked=neighbour.chokes,
                interested=self._service.interested(neighbour),
                waiting=len(neighbour.line.waiting),
                serving=len(neighbour.line.serving),
                has={dataset.root: dataset.has_of(neighbour) for dataset in self._shared if neighbour in dataset.maps},
            )
            for neighbour in self._neighbours.values()
        ]
        datasets = [
            DatasetStats(
                root=dataset.root,
                size=dataset.size,
                complete=dataset.complete,
                revealing=dataset.reveal is not None,
                followers=len(dataset.followers),
                peers=len(dataset.maps),
                sent=dataset.sent,
            )
            for dataset in self._shared
        ]
        return SwarmStats(peers, datasets, self._service.sent)

    # What the engine says, through `Entry`

    def on_gained(self, dataset: Dataset, start: int, end: int) -> None:
        """A download has verified a stretch."""
        dataset.news.gained(start, end)
        if dataset.followers:
            dataset.tell_news(self._clock())

    def on_completed(self, dataset: Dataset) -> None:
        """A download has everything."""
        if not dataset.complete:
            dataset.news.complete = True
            dataset.news.flush()
            dataset.tell_all()

    def on_bound(self, dataset: Dataset, link: PeerLink) -> None:
        """A download asks a peer that it dialled: it is told what that has of this dataset, and of no other."""
        neighbour = self._neighbours.get(link)
        if neighbour is not None:
            neighbour.follow(dataset.root)

    def on_credit(self, link: PeerLink, count: int) -> None:
        """A peer gave verified bytes."""
        neighbour = self._neighbours.get(link)
        if neighbour is not None:
            neighbour.downloaded += count
            neighbour.contender.gave += count

    def on_left(self, dataset: Dataset, listener: Listener) -> None:
        """A download ended, complete or not."""
        dataset.listeners.remove(listener)
        dataset.flows.pop(listener, None)
        if not dataset.listeners:
            self._shared.ended(dataset)

    # What peers say, through `Neighbour`

    def meet(self, link: PeerLink) -> Neighbour:
        """See `Exchange.meet`."""
        name = link.info.address or link.info.id or link.info.ip
        unwanted = self._judge(link.info)
        if unwanted:
            raise PeerDenied(unwanted, peer=name)
        if len(self._neighbours) >= self.options.peers:
            raise PeerBusy(f"{BUSY}: {self.options.peers} peers are connected", peer=name, hint="it may be tried again later")
        if self._service.spent:
            raise PeerBusy(f"{BUSY}: this node has given what it may give", peer=name)
        neighbour = self._neighbours[link] = Neighbour(self, link, self._clock())
        for dataset in self._shared:
            if dataset.listeners and (link.info.incoming or not self._fetches_more_than(dataset)):
                neighbour.follow(dataset.root)
        return neighbour

    def _fetches_more_than(self, dataset: Dataset) -> bool:
        """Whether other datasets are fetched too: then a peer that was dialled is there for one of them alone (`on_bound`)."""
        return any(other.listeners for other in self._shared if other is not dataset)

    def on_follows(self, neighbour: Neighbour, root: CID) -> None:
        """A peer wants to be told what is here of ``root``."""
        if root in neighbour.following:
            return
        if len(neighbour.following) >= SWARM_FOLLOWS_MAX:
            neighbour.link.close(f"follows more than {SWARM_FOLLOWS_MAX} datasets")
            return
        now = self._clock()
        dataset = self._shared.asked_for(root, now)
        neighbour.following.add(root)
        if dataset is None:
            neighbour.link.tell_have(root, None)  # a relay that has it in its cache can be asked
        else:
            self._shared.joined(neighbour, dataset, now)

    def on_unfollows(self, neighbour: Neighbour, root: CID) -> None:
        """It does not any more."""
        neighbour.following.discard(root)
        dataset = self._shared.get(root)
        if dataset is not None:
            self._shared.parted(neighbour, dataset)

    def on_has(self, neighbour: Neighbour, root: CID, have: HaveMap, gained: Sequence[tuple[int, int]] | None = None) -> None:
        """A peer says what it has."""
        dataset = self._shared.get(root)
        if dataset is None or root not in neighbour.followed:
            return
        spans = coarsened(have.spans)
        if spans is not have.spans:
            have, gained = have._replace(spans=spans), None
        dataset.maps[neighbour] = have
        dataset.introduce(neighbour)
        for listener in tuple(dataset.listeners):
            listener.has(neighbour.link, have, gained)
        self._shared.learned(neighbour, dataset, have, gained, self._clock())

    def size(self, root: CID) -> int:
        """Gives the bytes of a dataset; 0: not known."""
        dataset = self._shared.get(root)
        return 0 if dataset is None else dataset.size

    def on_has_nothing(self, neighbour: Neighbour, root: CID) -> None:
        """A peer tells nothing; one that this node dialled can be asked all the same."""
        dataset = self._shared.get(root)
        if dataset is not None and root in neighbour.followed and not neighbour.link.info.incoming:
            dataset.introduce(neighbour)

    def on_peers(self, neighbour: Neighbour, addresses: Sequence[str]) -> None:
        """A peer names others."""
        heard = self._hearsay.heard(addresses, neighbour.named, self._addresses(), self._clock(), near=neighbour.near)
        if not heard:
            return
        for dataset in self._shared:
            if neighbour in dataset.maps or neighbour in dataset.followers:
                for listener in tuple(dataset.listeners):
                    listener.hints(heard, neighbour.link.info)

    def on_asked(self, neighbour: Neighbour, request: int, cids: Sequence[CID]) -> None:
        """A peer asks for blocks."""
        self._service.asked(neighbour, request, cids, self._clock())

    def on_cancelled(self, neighbour: Neighbour, request: int) -> None:
        """It does not want an answer any more."""
        self._service.cancelled(neighbour, request)

    def on_answered(self, neighbour: Neighbour, request: int, sent: int) -> None:
        """An answer is over."""
        now = self._clock()
        self._service.answered(neighbour, request, sent, now)
        if sent:
            self._shared.sent(neighbour, sent, now, idle=self._service.idle)

    def on_choked(self, neighbour: Neighbour, *, on: bool) -> None:
        """A peer answers nothing, or does again."""
        if neighbour.chokes == on:
            return
        neighbour.chokes = on
        for dataset in self._shared:
            if neighbour in dataset.met:
                for listener in tuple(dataset.listeners):
                    listener.choked(neighbour.link, on)

    def on_closed(self, neighbour: Neighbour, reason: str) -> None:
        """A connection is gone."""
        if self._neighbours.pop(neighbour.link, None) is None:
            return
        now = self._clock()
        self._hearsay.forget(neighbour.named, now)
        self._shared.closed(neighbour, reason)
        self._service.gone(neighbour, now)
        if neighbour.uploaded:
            self._parted(neighbour.link.info, neighbour.uploaded)
