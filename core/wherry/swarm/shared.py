"""The datasets that this node shares, who follows each, and what its followers are told (specs/0025 §2, §4, §5). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from wherry.abc.exchange import HaveMap
from wherry.flow import FREE
from wherry.limits import GOSSIP_ADDRESSES_MAX
from wherry.stretches import Stretches
from wherry.swarm.dataset import Dataset
from wherry.swarm.gossip import FIRST_S, Told

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping, Sequence

    from wherry.abc.exchange import PeerLink
    from wherry.cid import CID
    from wherry.flow import Flow
    from wherry.swarm.neighbour import Neighbour
    from wherry.swarm.options import SwarmOptions

BUSY: Final = "busy"  # how the reason begins that a peer is told when it should come back later (PeerBusy)
_REFRESH_S: Final = 1.0  # between two looks at all that the followers of a revealed dataset have
_REFRESH_SPANS: Final = 8192  # stretches of their maps that are looked at in one tick: some ms
_REFRESH_LEAST: Final = 16  # stretches that a map counts as, besides its own


class Held(Protocol):
    """What this node holds of which no download is under way."""

    def __call__(self, root: CID, /) -> tuple[int, bool | Stretches] | None:
        """Gives the size of a dataset, and whether all of it is here to be served, or which stretches; None: it is not here."""


def _map_of(held: tuple[int, bool | Stretches] | None) -> HaveMap | None:
    """Gives what can be told of a dataset; None: nothing."""
    if held is None or not held[1]:
        return None
    return HaveMap(Stretches(), complete=True) if held[1] is True else HaveMap(held[1])


class Shared:
    """Datasets that are downloaded here or followed by a peer. For one thread."""

    def __init__(
        self,
        neighbours: Mapping[PeerLink, Neighbour],
        held: Held,
        options: SwarmOptions,
        rng: random.Random,
        flow: Flow = FREE,
    ) -> None:
        """``neighbours`` are those that are connected, kept by who made this. ``flow``: of what no download gives on."""
        self._flow = flow
        self._neighbours = neighbours
        self._held = held
        self._options = options
        self._rng = rng
        self._datasets: dict[CID, Dataset] = {}
        self._gossip_at = 0.0
        self._refresh_at = 0.0
        self._stale: list[tuple[Dataset, Neighbour]] = []  # whose maps have changed and are to be looked at, the next one last

    def __iter__(self) -> Iterator[Dataset]:
        """Gives those that there are now: they may come and go meanwhile."""
        return iter(tuple(self._datasets.values()))

    def get(self, root: CID) -> Dataset | None:
        """Finds one."""
        return self._datasets.get(root)

    @property
    def revealing(self) -> bool:
        """Whether any is shown piece by piece."""
        return any(dataset.reveal is not None for dataset in self._datasets.values())

    @property
    def downloading(self) -> bool:
        """Whether this node lacks something of any."""
        return any(dataset.listeners and not dataset.complete for dataset in self._datasets.values())

    def urgency_of(self, neighbour: Neighbour) -> int:
        """Gives the place of the most urgent class that what a peer follows is given in."""
        found = [dataset for root in neighbour.following if (dataset := self._datasets.get(root)) is not None]
        flows = [flow for dataset in found for flow in dataset.flows.values() or (self._flow,)]
        return min([flow.urgency for flow in flows], default=self._flow.urgency)

    # Datasets come and go

    def enter(self, root: CID, size: int, have: HaveMap, now: float) -> Dataset:
        """Gives the dataset of a download that begins, of which ``have`` is here."""
        dataset = self._datasets.get(root)
        if dataset is None:
            return self._add(root, size, have, now)
        for start, end in have.spans:
            dataset.news.gained(start, end)
        return dataset

    def asked_for(self, root: CID, now: float) -> Dataset | None:
        """Gives the dataset that a peer wants to follow; None: nothing can be told of it."""
        dataset = self._datasets.get(root)
        if dataset is not None:
            return dataset
        held = self._held(root)
        have = _map_of(held)
        return None if held is None or have is None else self._add(root, held[0], have, now)

    def _add(self, root: CID, size: int, have: HaveMap, now: float) -> Dataset:
        dataset = self._datasets[root] = Dataset(root, size, have)
        if have.complete and self._options.reveal:
            dataset.start_revealing(self._rng)
        for neighbour in tuple(self._neighbours.values()):
            if root in neighbour.following:  # it asked before this node had anything of it
                self.joined(neighbour, dataset, now)
        return dataset

    def ended(self, dataset: Dataset) -> None:
        """No download of it is under way any more: what is here for good is seeded on, as long as somebody follows it."""
        have = _map_of(self._held(dataset.root))
        if have is None or dataset.complete != have.complete:
            dataset.emptied()
            self._drop(dataset)
            return
        if not dataset.complete:
            dataset.kept(have)
        if not dataset.followers:
            self._drop(dataset)

    def _drop(self, dataset: Dataset) -> None:
        if self._datasets.pop(dataset.root, None) is None:
            return
        for neighbour in tuple(self._neighbours.values()):
            if dataset.root in neighbour.followed:
                neighbour.followed.discard(dataset.root)
                neighbour.link.unfollow(dataset.root)

    # Followers come and go

    def joined(self, neighbour: Neighbour, dataset: Dataset, now: float) -> None:
        """A peer follows a dataset; where too many do, it is sent on to the others."""
        if neighbour in dataset.followers:
            return
        if not self._room(dataset):
            self._send_on(neighbour, dataset)
            return
        dataset.followers[neighbour] = None
        dataset.told[neighbour] = Told(now)
        if dataset.reveal is not None:
            listens = bool(neighbour.link.info.address)
            dataset.shown[neighbour] = dataset.reveal.join(dataset.maps.get(neighbour), now, listens=listens)
            self._alone(dataset, now, but=neighbour)
            dataset.reveal.onward(dataset.shown[neighbour], now)
        neighbour.follow(dataset.root)
        dataset.tell(neighbour)

    def _alone(self, dataset: Dataset, now: float, *, but: Neighbour | None = None) -> None:
        """Tells a follower, ``but`` one that is told anyhow, when it becomes the only one, or is so no more."""
        if dataset.reveal is None:
            return
        of = {id(shown): neighbour for neighbour, shown in dataset.shown.items()}
        for shown in dataset.reveal.alone():
            neighbour = of[id(shown)]
            have = dataset.maps.get(neighbour)
            if have is not None:
                dataset.reveal.refresh(shown, have, now)
            dataset.reveal.onward(shown, now)
            if neighbour is not but:
                dataset.tell(neighbour)

    def parted(self, neighbour: Neighbour, dataset: Dataset) -> None:
        """It does not follow it any more."""
        if neighbour not in dataset.followers:
            return
        self._step_down(neighbour, dataset)
        if not dataset.followers and not dataset.listeners:
            self._drop(dataset)

    def closed(self, neighbour: Neighbour, reason: str) -> None:
        """A peer is gone: nothing is kept of it."""
        for dataset in self:
            known = dataset.met.pop(neighbour, False) is None
            dataset.maps.pop(neighbour, None)
            self.parted(neighbour, dataset)
            if known:
                for listener in tuple(dataset.listeners):
                    listener.lost(neighbour.link, reason)

    def _room(self, dataset: Dataset) -> bool:
        """Whether one more may follow a complete dataset; one that has everything makes room."""
        most = self._options.followers
        if not dataset.complete or not most or len(dataset.followers) < most:
            return True
        for neighbour in dataset.followers:
            have = dataset.maps.get(neighbour)
            if have is not None and have.complete:
                self._step_down(neighbour, dataset)
                neighbour.link.close("has everything, and others wait")
                return True
        return False

    def _step_down(self, neighbour: Neighbour, dataset: Dataset) -> None:
        """A follower makes room now: until its connection has ended, others come, and each would take its place."""
        del dataset.followers[neighbour]
        dataset.told.pop(neighbour, None)
        shown = dataset.shown.pop(neighbour, None)
        if shown is not None and dataset.reveal is not None:
            dataset.reveal.leave(shown)

    def _send_on(self, neighbour: Neighbour, dataset: Dataset) -> None:
        others = [address for other, address in dataset.reachable() if other is not neighbour]
        told = self._rng.sample(others, min(len(others), GOSSIP_ADDRESSES_MAX))
        if told:
            neighbour.link.tell_peers(told)
        neighbour.link.close(f"{BUSY}: {self._options.followers} peers fetch this dataset here; ask the others")

    # What followers say and are told

    def learned(
        self, neighbour: Neighbour, dataset: Dataset, have: HaveMap, gained: Sequence[tuple[int, int]] | None, now: float
    ) -> None:
        """A peer said what it has: it, or who brought it that, is shown more of a dataset that is shown piece by piece."""
        shown = dataset.shown.get(neighbour)
        if shown is None or dataset.reveal is None:
            return
        for ready in dataset.reveal.has(shown, have, now, gained):
            self._show(neighbour if ready is shown else dataset.neighbour_of(ready), dataset, now)

    def sent(self, neighbour: Neighbour, count: int, now: float, *, idle: bool) -> None:
        """Counts what was sent to the dataset that a peer follows; of one that follows several, it is not known which.

        ``idle``: nobody waits for an answer, and more could be answered.
        """
        if len(neighbour.following) != 1:
            return
        dataset = self._datasets.get(next(iter(neighbour.following)))
        if dataset is None:
            return
        dataset.sent += count
        shown = dataset.shown.get(neighbour)
        if shown is not None and dataset.reveal is not None and dataset.reveal.sent(shown, count, now, idle=idle):
            self._show(neighbour, dataset, now)

    def tick(self, now: float, *, idle: bool) -> None:
        """Tells followers what is new, and of each other."""
        for dataset in self:
            if dataset.followers:
                dataset.tell_news(now)
                self._show_more(dataset, now, idle=idle)
        if now - self._refresh_at >= _REFRESH_S and not self._stale:
            self._refresh_at = now
            self._stale = [pair for dataset in self for pair in dataset.stale()][::-1]
        self._refresh(now)
        if now - self._gossip_at >= FIRST_S / 2:
            self._gossip_at = now
            for dataset in self:
                self._gossip(dataset, now)

    def _show(self, neighbour: Neighbour, dataset: Dataset, now: float) -> None:
        if dataset.reveal is not None:
            gained = dataset.reveal.onward(dataset.shown[neighbour], now)
            if gained:
                dataset.tell(neighbour, gained)

    def _show_more(self, dataset: Dataset, now: float, *, idle: bool) -> None:
        reveal = dataset.reveal
        if reveal is None:
            return
        self._alone(dataset, now)
        for neighbour, shown in tuple(dataset.shown.items()):
            if shown.open or shown.done:
                continue
            shown.asks = bool(neighbour.line.waiting or neighbour.line.serving)
            if reveal.mute(shown, now):
                shown.open = shown.mute = True
                dataset.tell(neighbour)
            elif reveal.sent(shown, 0, now, idle=idle):
                self._show(neighbour, dataset, now)
        if idle:
            of = {id(shown): neighbour for neighbour, shown in dataset.shown.items()}
            for shown, gained in reveal.again(now):
                dataset.tell(of[id(shown)], gained)

    def _refresh(self, now: float) -> None:
        """Looks at maps that have changed: at so many in one tick, and at one at least."""
        spent = 0
        while self._stale and spent < _REFRESH_SPANS:
            dataset, neighbour = self._stale.pop()
            shown, have = dataset.shown.get(neighbour), dataset.maps.get(neighbour)
            if dataset.reveal is not None and shown is not None and have is not None:
                spent += len(have.spans) + _REFRESH_LEAST
                dataset.reveal.refresh(shown, have, now)

    def _gossip(self, dataset: Dataset, now: float) -> None:
        members: list[tuple[Neighbour, str]] | None = None
        for neighbour, told in tuple(dataset.told.items()):
            if not told.due(now):
                continue
            if members is None:
                members = dataset.reachable()
                self._rng.shuffle(members)
            fresh = told.news((address for other, address in members if other is not neighbour), now)
            if fresh:
                neighbour.link.tell_peers(fresh)
