"""Which of the requests that wait is answered next, and who is choked (specs/0025 §4). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.swarm.choking import Choking
from wherry.swarm.haves import lacks
from wherry.swarm.uploads import Uploads

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from wherry.abc.exchange import PeerLink
    from wherry.cid import CID
    from wherry.swarm.dataset import Dataset
    from wherry.swarm.neighbour import Neighbour
    from wherry.swarm.options import SwarmOptions

_IDLE_S: Final = 0.2  # the link idles for so long before one more is unchoked


class Serving:
    """The upload side of a node. For one thread."""

    def __init__(
        self,
        options: SwarmOptions,
        clock: Callable[[], float],
        rng: random.Random,
        neighbours: Mapping[PeerLink, Neighbour],
        datasets: Mapping[CID, Dataset],
    ) -> None:
        """``neighbours`` and ``datasets`` are those of the swarm, as they change."""
        self.options = options
        self._clock = clock
        self._neighbours = neighbours
        self._datasets = datasets
        self.sent = 0  # bytes of blocks, in all
        self._uploads: Uploads[Neighbour] = Uploads(options)
        self._choking = Choking(options, rng)
        self._filling = False
        self._busy_at = clock()  # when requests waited last

    @property
    def idle(self) -> bool:
        """Whether nobody waits to be served."""
        return self._uploads.idle

    def asked(self, neighbour: Neighbour, request: int, cids: Sequence[CID]) -> None:
        """A peer asks for blocks."""
        neighbour.contender.interested = True
        if not cids:
            neighbour.link.answer(request)
            return
        if neighbour.contender.choked:  # it asked before it heard of it
            return
        now = self._clock()
        if not self._uploads.asked(neighbour.line, request, cids[0], now):
            neighbour.link.close("has too many requests waiting")
            return
        self.fill(now)

    def cancelled(self, neighbour: Neighbour, request: int) -> None:
        """It does not want an answer any more."""
        self._uploads.cancelled(neighbour.line, request)

    def answered(self, neighbour: Neighbour, request: int, sent: int) -> None:
        """An answer is over."""
        now = self._clock()
        self._uploads.answered(neighbour.line, request, sent, now)
        neighbour.uploaded += sent
        self.sent += sent
        self.fill(now)

    def gone(self, neighbour: Neighbour) -> None:
        """A connection is gone."""
        self._uploads.gone(neighbour.line)
        self.fill(self._clock())

    def tick(self, now: float) -> None:
        """Does what time brings."""
        if self._choking.due(now):
            self.rechoke(now)
        self.use_idle(now)
        self.fill(now)

    @property
    def spent(self) -> bool:
        """Whether this node has given what it may give."""
        return 0 < self.options.upload_bytes <= self.sent

    def fill(self, now: float) -> None:
        """Has as many requests answered as there are slots."""
        if self._filling or self.spent:
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

    def interested(self, neighbour: Neighbour) -> bool:
        """Tells whether a peer lacks something that is here, of a dataset that it follows."""
        return any(
            neighbour in dataset.followers and lacks(dataset.maps.get(neighbour), dataset.news.map)
            for dataset in self._datasets.values()
        )

    def rechoke(self, now: float) -> None:
        """Decides anew who is choked."""
        if self.spent:
            for neighbour in self._neighbours.values():
                told, neighbour.contender.choked = neighbour.contender.choked, True
                self._obey(neighbour, told=told)
            return
        before = {neighbour: neighbour.contender.choked for neighbour in self._neighbours.values()}
        for neighbour in before:
            contender = neighbour.contender
            contender.interested = bool(neighbour.line.waiting or neighbour.line.serving) or self.interested(neighbour)
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

    def use_idle(self, now: float) -> None:
        """Unchokes one more, if the link has idled for a moment."""
        if self.spent or not self._uploads.idle:
            self._busy_at = now
        elif now - self._busy_at >= _IDLE_S:
            self._busy_at = now
            of = {id(neighbour.contender): neighbour for neighbour in self._neighbours.values()}
            picked = self._choking.spare([neighbour.contender for neighbour in self._neighbours.values()], now)
            if picked is not None:
                self._obey(of[id(picked)], told=True)
