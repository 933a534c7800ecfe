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
from wherry.swarm.choking import Choking
from wherry.swarm.dataset import Dataset, Listener
from wherry.swarm.gossip import EARLY_S, Hearsay, Told
from wherry.swarm.haves import coarsened, lacks
from wherry.swarm.neighbour import Neighbour
from wherry.swarm.options import SwarmOptions
from wherry.swarm.stats import DatasetStats, PeerStats, SwarmStats
from wherry.swarm.uploads import Uploads

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from wherry.abc.exchange import PeerInfo, PeerLink
    from wherry.abc.transport import BlockSource
    from wherry.cid import CID

__all__ = ["BUSY", "Entry", "Listener", "Swarm"]

BUSY: Final = "busy"  # how the reason begins that a peer is told when it should come back later (PeerBusy)
_IDLE_S: Final = 0.2  # the link idles for so long before one more is unchoked
_REFRESH_S: Final = 1.0  # between two looks at all that the followers of a revealed dataset have


class _Held(Protocol):
    def __call__(self, root: CID, /) -> tuple[int, bool] | None: ...


class Entry:
    """One download of a dataset, as the swarm knows it. For the loop's thread."""

    __slots__ = ("_dataset", "_left", "_listener", "_swarm")

    def __init__(self, swarm: Swarm, dataset: Dataset, listener: Listener) -> None:
        self._swarm = swarm
        self._dataset = dataset
        self._listener = listener
        self._left = False

    def sized(self, size: int) -> None:
        """Says how large the dataset is, where that was not known when it was entered: its root had to be fetched first."""
        self._dataset.news.size = size

    def gained(self, start: int, end: int) -> None:
        """Bytes ``start`` ... ``end`` of the dataset are verified and can be served. Peers are told in batches."""
        self._dataset.news.gained(start, end)

    def completed(self) -> None:
        """Everything is there, manifest included. Peers are told now."""
        self._swarm.on_completed(self._dataset)

    def credit(self, link: PeerLink, count: int) -> None:
        """Counts ``count`` bytes of verified payload that a peer gave: it is served for them."""
        self._swarm.on_credit(link, count)

    def leave(self) -> None:
        """Ends the download. What is complete is seeded on while `Swarm` is told that it is held. Twice is once."""
        if not self._left:
            self._left = True
            self._swarm.on_left(self._dataset, self._listener)


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
        self._uploads: Uploads[Neighbour] = Uploads(self.options)
        self._choking = Choking(self.options, rng)
        self._hearsay = Hearsay()
        self._sent = 0
        self._filling = False
        self._busy_at = clock()  # when requests waited last
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
                self._tell_news(dataset, now)
                if dataset.reveal is not None:
                    self._show_more(dataset, now)
        if now - self._refresh_at >= _REFRESH_S:
            self._refresh_at = now
            self._refresh()
        if self._choking.due(now):
            self._rechoke(now)
        self._use_idle(now)
        self._fill(now)
        if now - self._gossip_at >= EARLY_S / 2:
            self._gossip_at = now
            self._gossip(now)

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
                interested=self._interested(neighbour),
                waiting=len(neighbour.line.waiting),
                serving=len(neighbour.line.serving),
                has={
                    root: dataset.size if dataset.maps[neighbour].complete else dataset.maps[neighbour].spans.total
                    for root, dataset in self._datasets.items()
                    if neighbour in dataset.maps
                },
            )
            for neighbour in self._neighbours.values()
        ]
        datasets = [
            DatasetStats(
                root=root,
                size=dataset.size,
                complete=dataset.complete,
                revealing=dataset.reveal is not None,
                followers=len(dataset.followers),
                peers=len(dataset.maps),
                sent=dataset.sent,
            )
            for root, dataset in self._datasets.items()
        ]
        return SwarmStats(peers, datasets, self._sent)

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
        if self._spent:
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
            self._show(neighbour, dataset, self._clock())

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
        neighbour.contender.interested = True
        if neighbour.contender.choked or not cids:  # it asked before it heard that it is choked
            if not cids:
                neighbour.link.answer(request)
            return
        now = self._clock()
        if not self._uploads.asked(neighbour.line, request, cids[0], now):
            neighbour.link.close("has too many requests waiting")
            return
        self._fill(now)

    def on_cancelled(self, neighbour: Neighbour, request: int) -> None:
        """It does not want an answer any more."""
        self._uploads.cancelled(neighbour.line, request)

    def on_answered(self, neighbour: Neighbour, request: int, sent: int) -> None:
        """An answer is over."""
        now = self._clock()
        self._uploads.answered(neighbour.line, request, sent, now)
        neighbour.uploaded += sent
        self._sent += sent
        self._fill(now)
        if sent:
            self._count(neighbour, sent, now)

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
        self._uploads.gone(neighbour.line)
        self._hearsay.forget(neighbour.named)
        for dataset in list(self._datasets.values()):
            known = dataset.met.pop(neighbour, False) is None
            dataset.maps.pop(neighbour, None)
            self._parted(neighbour, dataset)
            if known:
                for listener in dataset.listeners:
                    listener.lost(neighbour.link, reason)
        self._fill(self._clock())

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

    # What is told of what is here

    def _tell_news(self, dataset: Dataset, now: float) -> None:
        gained = dataset.news.due(now)
        if gained:
            have = dataset.news.map
            for neighbour in dataset.followers:
                neighbour.link.tell_have(dataset.root, have, gained)

    def _show(self, neighbour: Neighbour, dataset: Dataset, now: float) -> None:
        if dataset.reveal is not None:
            gained = dataset.reveal.onward(dataset.shown[neighbour], now)
            if gained:
                dataset.tell(neighbour, gained)

    def _count(self, neighbour: Neighbour, sent: int, now: float) -> None:
        """Counts what was sent to the dataset that the peer follows; of one that follows several, it is not known which."""
        if len(neighbour.following) != 1:
            return
        dataset = self._datasets.get(next(iter(neighbour.following)))
        if dataset is None:
            return
        dataset.sent += sent
        shown = dataset.shown.get(neighbour)
        if shown is None or dataset.reveal is None:
            return
        if dataset.reveal.sent(shown, sent, idle=self._uploads.idle):
            self._show(neighbour, dataset, now)

    def _show_more(self, dataset: Dataset, now: float) -> None:
        reveal = dataset.reveal
        if reveal is None:
            return
        idle = self._uploads.idle
        for neighbour, shown in dataset.shown.items():
            if shown.open or shown.done:
                continue
            if reveal.mute(shown, now):
                shown.open = True
                dataset.tell(neighbour)
            elif reveal.sent(shown, 0, idle=idle):
                self._show(neighbour, dataset, now)
        if idle and not reveal.left:
            of = {id(shown): neighbour for neighbour, shown in dataset.shown.items()}
            for shown, gained in reveal.again(now):
                dataset.tell(of[id(shown)], gained)

    def _refresh(self) -> None:
        for dataset in self._datasets.values():
            if dataset.reveal is not None:
                for neighbour, shown in dataset.shown.items():
                    have = dataset.maps.get(neighbour)
                    if have is not None:
                        dataset.reveal.refresh(shown, have)

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

    # Who is served

    @property
    def _spent(self) -> bool:
        return 0 < self.options.upload_bytes <= self._sent

    def _fill(self, now: float) -> None:
        """Has as many requests answered as there are slots."""
        if self._filling or self._spent:
            return
        self._filling = True  # a transport may say `answered` from within `answer`
        try:
            spare = any(dataset.reveal is not None for dataset in self._datasets.values()) if self._uploads.waiting else False
            while (picked := self._uploads.next(now, spare=spare)) is not None:
                line, request = picked
                line.peer.link.answer(request)
        finally:
            self._filling = False
        if self._uploads.waiting:
            self._busy_at = now

    def _interested(self, neighbour: Neighbour) -> bool:
        return any(
            neighbour in dataset.followers and lacks(dataset.maps.get(neighbour), dataset.news.map)
            for dataset in self._datasets.values()
        )

    def _rechoke(self, now: float) -> None:
        if self._spent:
            for neighbour in self._neighbours.values():
                told, neighbour.contender.choked = neighbour.contender.choked, True
                self._obey(neighbour, told=told)
            return
        before = {neighbour: neighbour.contender.choked for neighbour in self._neighbours.values()}
        for neighbour in before:
            contender = neighbour.contender
            contender.interested = bool(neighbour.line.waiting or neighbour.line.serving) or self._interested(neighbour)
        seed = not any(dataset.listeners and not dataset.complete for dataset in self._datasets.values())
        self._choking.rechoke([neighbour.contender for neighbour in before], now, seed=seed)
        for neighbour, told in before.items():
            self._obey(neighbour, told=told)

    def _obey(self, neighbour: Neighbour, *, told: bool) -> None:
        """Tells a peer whether it is choked, if it was ``told`` otherwise."""
        choked = neighbour.contender.choked
        if choked != told:
            if choked:
                self._uploads.dropped(neighbour.line)
            neighbour.link.choke(on=choked)

    def _use_idle(self, now: float) -> None:
        """Unchokes one more, if the link has idled for a moment."""
        if self._spent or not self._uploads.idle:
            self._busy_at = now
        elif now - self._busy_at >= _IDLE_S:
            self._busy_at = now
            of = {id(neighbour.contender): neighbour for neighbour in self._neighbours.values()}
            picked = self._choking.spare([neighbour.contender for neighbour in self._neighbours.values()], now)
            if picked is not None:
                self._obey(of[id(picked)], told=True)
