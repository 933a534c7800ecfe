"""One get as a member of the swarm: peers that it meets become its sources, and what it writes is told to them (specs/0025).

The swarm knows peers, the fetcher sources. A peer that this get dialled is a source already; one that dialled this node becomes
one; and one that others named is dialled, if the address policy lets it.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Final

from wherry.abc.exchange import HaveMap, SupportsLink
from wherry.dial import NAMED, Dial
from wherry.observe import Note
from wherry.stretches import Stretches
from wherry.swarm.shared import BUSY
from wherry.transfer.guard import GuardedChannel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.abc.exchange import PeerInfo, PeerLink
    from wherry.abc.transport import Channel
    from wherry.cid import CID
    from wherry.observe import Observe
    from wherry.swarm.swarm import Entry, Swarm
    from wherry.transfer.fetch import Fetcher
    from wherry.transfer.part import PartSource
    from wherry.transfer.sink import Piece
    from wherry.transfer.source import Source

    ConnectAs = Callable[[str, Dial], AbstractAsyncContextManager[Channel]]

SOURCES_MAX: Final = 48  # peers that one get speaks with: beyond that, each one more is of little use


class _Known:
    """A peer, and what it said before it was a source."""

    __slots__ = ("choked", "have", "info", "source")

    def __init__(self, info: PeerInfo) -> None:
        self.info = info
        self.source: Source | None = None
        self.have: HaveMap | None = None
        self.choked = False


class Membership:
    """See `wherry.swarm.dataset.Listener`. For the loop's thread, but for `gained`."""

    __slots__ = (
        "_adopted", "_connect", "_entry", "_fetcher", "_known", "_lock", "_loop", "_news", "_observe", "_part", "_swarm",
    )  # fmt: skip

    def __init__(self, root: CID, fetcher: Fetcher, swarm: Swarm, connect: ConnectAs, observe: Observe) -> None:
        """Enters the swarm of ``root``. ``connect`` opens a channel within an address policy."""
        self._fetcher = fetcher
        self._swarm = swarm
        self._connect = connect
        self._observe = observe
        self._known: dict[PeerLink, _Known] = {}
        self._adopted: dict[PeerLink, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._news: list[tuple[int, int]] = []  # written, and not yet told to the swarm
        self._part: PartSource | None = None
        fetcher.join(self)
        self._entry: Entry | None = swarm.enter(root, 0, HaveMap(Stretches()), self, fetcher.flow)

    def sized(self, size: int) -> None:
        """Says how large the dataset is, now that its root is here."""
        if self._entry is not None:
            self._entry.sized(size)

    def share(self, part: PartSource, done: Stretches) -> None:
        """Says that what is written from now on, and what was ``done`` before, can be given to others."""
        self._part = part
        if self._entry is not None:
            for start, end in done:
                self._entry.gained(start, end)

    def completed(self) -> None:
        """Says that everything is here, and found in the store."""
        if self._entry is not None:
            self._tell()
            self._entry.completed()

    def leave(self) -> None:
        """Ends. Twice is once."""
        entry, self._entry = self._entry, None
        if entry is not None:
            entry.leave()
        for task in self._adopted.values():
            task.cancel()

    # What is written

    def gained(self, runs: Sequence[Sequence[Piece]]) -> None:
        """Takes what was written; any thread."""
        if self._part is None:
            return
        self._part.gained(runs)
        with self._lock:
            first = not self._news
            for pieces in runs:
                head, last = pieces[0], pieces[-1]
                self._news.append((head.slot.base + head.offset, last.slot.base + last.offset + last.size))
        if first:
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        with self._lock:
            news, self._news = self._news, []
        if self._entry is not None:
            for start, end in news:
                self._entry.gained(start, end)

    def credit(self, source: Source, count: int) -> None:
        """A source gave verified bytes."""
        if self._entry is not None and source.linked:
            for link, known in self._known.items():
                if known.source is source:
                    self._entry.credit(link, count)

    # Sources that were dialled

    def link_of(self, channel: Channel) -> PeerLink | None:
        """Finds the peer at the other end of a channel; None where the transport does not exchange."""
        inner = channel.inner if isinstance(channel, GuardedChannel) else channel
        if isinstance(inner, SupportsLink):
            return inner.link
        return next((link for link in self._adopted if link.channel is inner), None)

    def bind(self, link: PeerLink, source: Source) -> None:
        """Says that a source is this peer; what it said so far holds from now on.

        Two that hear of each other at the same moment dial each other: each asks over the connection that it dialled.
        """
        known = self._known.setdefault(link, _Known(link.info))
        known.source = source
        if self._entry is not None:
            self._entry.follow(link)
        for other in [other for other in self._adopted if other is not link and _same(other.info, link.info)]:
            self._adopted.pop(other).cancel()
        if known.choked:
            self._fetcher.choked(source, on=True)
        if known.have is not None:
            self._fetcher.learned(source, known.have, None)

    def unbind(self, link: PeerLink) -> None:
        """It is no source any more."""
        known = self._known.get(link)
        if known is not None:
            known.source = None

    # What the swarm tells

    def met(self, link: PeerLink, peer_info: PeerInfo) -> None:
        """See `Listener.met`."""
        known = self._known.setdefault(link, _Known(peer_info))
        if known.source is not None or not peer_info.incoming or len(self._fetcher.sources) >= SOURCES_MAX:
            return
        if peer_info.address and any(one.address == peer_info.address and one.alive for one in self._fetcher.sources):
            return  # this get speaks with it over a connection of its own
        name = peer_info.address or f"{peer_info.scheme}://{peer_info.id or peer_info.ip or 'a local peer'}"
        adopted = self._fetcher.adopt(name, link.channel)
        if adopted is not None:
            self._adopted[link] = adopted

    def has(self, link: PeerLink, have: HaveMap, gained: Sequence[tuple[int, int]] | None) -> None:
        """See `Listener.has`."""
        known = self._known.setdefault(link, _Known(link.info))
        known.have = have
        if known.source is not None:
            self._fetcher.learned(known.source, have, gained)

    def choked(self, link: PeerLink, on: bool) -> None:
        """See `Listener.choked`."""
        known = self._known.setdefault(link, _Known(link.info))
        known.choked = on
        if known.source is not None:
            self._fetcher.choked(known.source, on=on)

    def lost(self, link: PeerLink, reason: str) -> None:
        """See `Listener.lost`. A source that was dialled notices by itself.

        One that had dialled this node may only have all that it dialled for: it is called in turn.
        """
        known = self._known.pop(link, None)
        if known is not None and known.source is not None:
            known.source.busy = f"{BUSY}: " in reason
        task = self._adopted.pop(link, None)
        if task is not None:
            task.cancel()
            if known is not None and known.info.address:
                self._call(known.info.address, known.info)

    def hints(self, addresses: Sequence[str], by: PeerInfo) -> None:
        """See `Listener.hints`. Who is on the Internet cannot send this node into its own network."""
        for address in addresses:
            if len(self._fetcher.sources) >= SOURCES_MAX:
                return
            if address in self._swarm.addresses() or any(known.info.address == address for known in self._known.values()):
                continue
            self._observe(Note("info", f"{by.address or by.ip} names {address!a}"))
            self._call(address, by)

    def _call(self, address: str, by: PeerInfo) -> None:
        policy = NAMED.onward(by.ip) if by.ip else NAMED
        self._fetcher.dial(address, lambda where: self._connect(where, policy))


def _same(one: PeerInfo, other: PeerInfo) -> bool:
    """Whether two connections lead to one peer: by its key, or, where it proved none, by what it says and where it is."""
    if one.id or other.id:
        return one.id == other.id
    return bool(one.address) and (one.address, one.ip) == (other.address, other.ip)
