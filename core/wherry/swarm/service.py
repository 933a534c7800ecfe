"""Which peers are served, and which of their requests is answered now (specs/0025 §4). Pure: times and chance come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.limits import LEAF_BYTES_MAX
from wherry.swarm.choking import Choking
from wherry.swarm.haves import lacks
from wherry.swarm.uploads import Uploads

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from wherry.abc.exchange import PeerLink
    from wherry.cid import CID
    from wherry.swarm.neighbour import Neighbour
    from wherry.swarm.options import SwarmOptions
    from wherry.swarm.shared import Shared

_IDLE_S: Final = 0.2  # the link idles for so long before one more is unchoked


class Service:
    """Chokes peers and answers their requests, as many at a time as there are slots. For one thread."""

    def __init__(
        self, neighbours: Mapping[PeerLink, Neighbour], shared: Shared, options: SwarmOptions, rng: random.Random, now: float
    ) -> None:
        """``neighbours`` are those that are connected, kept by who made this."""
        self.sent = 0  # bytes of blocks, to all peers
        self._largest = LEAF_BYTES_MAX  # bytes of an answer, as far as is known
        self._neighbours = neighbours
        self._shared = shared
        self._options = options
        self._uploads: Uploads[Neighbour] = Uploads(options)
        self._choking = Choking(options, rng)
        self._filling = False
        self._busy_at = now  # when requests waited last

    @property
    def spent(self) -> bool:
        """Whether this node has given all that it may give."""
        return 0 < self._options.upload_bytes <= self.sent

    @property
    def _promised(self) -> bool:
        """Whether the answers under way may use up what is left."""
        most = self._options.upload_bytes
        return bool(most) and self.sent + self._uploads.serving * self._largest >= most

    @property
    def idle(self) -> bool:
        """Whether nobody waits, and more could be answered."""
        return self._uploads.idle

    def interested(self, neighbour: Neighbour) -> bool:
        """Whether a peer lacks something that is here."""
        return any(
            neighbour in dataset.followers and lacks(dataset.maps.get(neighbour), dataset.news.map) for dataset in self._shared
        )

    # Requests

    def asked(self, neighbour: Neighbour, request: int, cids: Sequence[CID], now: float) -> None:
        """A peer asks for blocks. One that asks too much at a time is closed."""
        neighbour.contender.interested = True
        line = neighbour.line
        if not line.waiting and not line.serving:
            line.urgency = self._shared.urgency_of(neighbour)
        if not cids:
            neighbour.link.answer(request)
        elif neighbour.contender.choked:
            return  # it asked before it heard so: both sides drop it
        elif self._uploads.asked(line, request, cids[0], now):
            self._fill(now)
        else:
            neighbour.link.close("has too many requests waiting")

    def cancelled(self, neighbour: Neighbour, request: int) -> None:
        """It does not want an answer any more."""
        self._uploads.cancelled(neighbour.line, request)

    def answered(self, neighbour: Neighbour, request: int, sent: int, now: float) -> None:
        """An answer is over."""
        self._uploads.answered(neighbour.line, request, sent, now)
        neighbour.uploaded += sent
        self.sent += sent
        self._largest = max(self._largest, sent)
        self._fill(now)

    def gone(self, neighbour: Neighbour, now: float) -> None:
        """Forgets a peer."""
        self._uploads.gone(neighbour.line)
        self._fill(now)

    def tick(self, now: float) -> None:
        """Chokes and unchokes where it is time to, and answers what waits."""
        if self._choking.due(now):
            self._rechoke(now)
        self._use_idle(now)
        self._fill(now)

    def _fill(self, now: float) -> None:
        """Has as many requests answered as there are slots."""
        if self._filling or self.spent:
            return
        self._filling = True  # a transport may say `answered` from within `answer`
        try:
            spare = self._shared.revealing if self._uploads.waiting else False
            while not self._promised and (picked := self._uploads.next(now, spare=spare)) is not None:
                line, request = picked
                line.peer.link.answer(request)
        finally:
            self._filling = False
        if self._uploads.waiting:
            self._busy_at = now

    # Choking

    def _rechoke(self, now: float) -> None:
        neighbours = tuple(self._neighbours.values())
        before = [neighbour.contender.choked for neighbour in neighbours]
        if self.spent:
            for neighbour in neighbours:
                neighbour.contender.choked = True
        else:
            for neighbour in neighbours:
                asks = bool(neighbour.line.waiting or neighbour.line.serving)
                neighbour.contender.interested = asks or self.interested(neighbour)
            contenders = [neighbour.contender for neighbour in neighbours]
            self._choking.rechoke(contenders, now, seed=not self._shared.downloading)
        for neighbour, told in zip(neighbours, before, strict=True):
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
        if self.spent or not self._uploads.idle:
            self._busy_at = now
        elif now - self._busy_at >= _IDLE_S:
            self._busy_at = now
            of = {id(neighbour.contender): neighbour for neighbour in self._neighbours.values()}
            picked = self._choking.spare([neighbour.contender for neighbour in self._neighbours.values()], now)
            if picked is not None:
                self._obey(of[id(picked)], told=True)
