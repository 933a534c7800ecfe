"""Bitswap 1.1 and 1.2 over the streams of py-libp2p, inside the process of its own (specs/0035 §5).

py-libp2p's own client answers on a stream that kubo never reads, closes the one that it should answer on, stores whatever
any peer sends, and keeps to no budget. So its host, its security and its muxer are used, and the exchange is done here.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from typing import Any, Final, Protocol

from wherry_libp2p.faults import Slow
from wherry_libp2p.frames import BLOCK_BYTES_MAX
from wherry_libp2p.messages import MESSAGE_BYTES_MAX, closed, length_of, message_of, reset
from wherry_libp2p.peer import PROTOCOLS, Peer
from wherry_libp2p.room import Room

try:
    import trio
    from libp2p.abc import INotifee
except ImportError:  # not installed here: the process that would run this says so, and ends
    trio = None
    INotifee = object

_COMING_BYTES_MAX: Final = 24 * 1024 * 1024  # that are asked for at a time, of all peers: there is room for them
_IDLE_S: Final = 300.0
_DONT_HAVE: Final = 1

_log = logging.getLogger(__name__)


class Source(Protocol):
    """What is served: wherry, behind the socket."""

    async def seek(self, cid: bytes, *, only_whether: bool) -> bytes | None:
        """Gives a block, or an empty one if ``only_whether`` and it is here; None if it is not."""


class Exchange:
    """Bitswap of one host. ``nursery`` runs what it starts."""

    def __init__(self, host: Any, nursery: trio.Nursery, source: Source, *, peer_wants: int, peers: int) -> None:
        self.host, self.nursery, self.source, self.peer_wants = host, nursery, source, peer_wants
        self._peers: OrderedDict[Any, Peer] = OrderedDict()
        self._peers_max = peers
        self.room = Room()
        self.counts = {"unsolicited": 0, "refused": 0, "received": 0, "sent": 0, "malformed": 0}
        for protocol in PROTOCOLS:
            host.set_stream_handler(protocol, self._opened)
        host.get_network().register_notifee(_Partings(self))

    @property
    def share(self) -> int:
        """The bytes that one peer may be asked for at a time, as far as those of all are concerned."""
        return _COMING_BYTES_MAX // max(1, sum(bool(peer.fetches) for peer in self._peers.values()))

    def peer(self, peer_id: Any) -> Peer:
        """Gives what is known of a peer; of too many, the longest idle one is forgotten."""
        found = self._peers.get(peer_id)
        if found is None:
            found = self._peers[peer_id] = Peer(self, peer_id)
            for other in list(self._peers.values()):
                if len(self._peers) <= self._peers_max:
                    break
                if not (other.fetches or other.waits or other.streams) and other is not found:
                    del self._peers[other.peer_id]
        self._peers.move_to_end(peer_id)
        return found

    def parted(self, peer_id: Any) -> None:
        """Takes the word that the last connection with a peer is over."""
        if (peer := self._peers.get(peer_id)) is not None:
            peer.waits.clear()
            peer.fail(ConnectionError("the peer hung up"))

    async def _opened(self, stream: Any) -> None:
        peer = self.peer(stream.muxed_conn.peer_id)
        peer.streams += 1
        try:
            await self.read(stream, peer, True)
        finally:
            peer.streams -= 1
            await closed(stream)  # it is half open else, and counts for the connection

    async def read(self, stream: Any, peer: Peer, theirs: bool) -> None:
        """Reads messages until the stream ends. Raises nothing: what is wrong with a stream ends that stream."""
        try:
            while True:
                with trio.move_on_after(_IDLE_S if theirs else float("inf")) as scope:
                    length = await length_of(stream, MESSAGE_BYTES_MAX)
                if scope.cancelled_caught:
                    await reset(stream)
                    break
                if length is None or not await self._read_one(stream, length, peer):
                    break
        except (ValueError, Slow) as problem:
            self.counts["malformed"] += 1
            _log.info("%s: %s", peer.peer_id, problem)
            peer.fail(problem)
            await reset(stream)
        except Exception as problem:  # noqa: BLE001  # as libp2p's streams end: many kinds, of no common one
            _log.debug("%s: %r", peer.peer_id, problem)
        finally:
            peer.lost(stream)

    async def _read_one(self, stream: Any, length: int, peer: Peer) -> bool:
        """Reads a message of ``length`` bytes, and does what it says; tells whether it came."""
        peer.begun += 1
        peer.heard = trio.current_time()  # that there is no room for it is no silence
        try:
            begun = await self.room.take(peer.peer_id, length, asked=bool(peer.fetches))
            try:
                message = await message_of(stream, length, begun)
                if message is None:
                    return False
                peer.heard = trio.current_time()
                await self._take(message, peer)
            finally:
                self.room.give(begun)
        finally:
            peer.begun -= 1
        return True

    async def _take(self, message: Any, peer: Peer) -> None:
        for block in message.payload:
            await self._block(block.data, peer)
        for presence in message.blockPresences:
            if presence.type == _DONT_HAVE:
                for fetch in list(peer.fetches):
                    fetch.missing(bytes(presence.cid)[-32:])
                peer.answered(bytes(presence.cid)[-32:])
        peer.weigh()
        if message.HasField("wantlist"):
            peer.asked(message.wantlist)

    async def _block(self, data: bytes, peer: Peer) -> None:
        digest = hashlib.sha256(data).digest()
        wanting = [fetch for fetch in peer.fetches if digest in fetch.left]
        if not wanting or len(data) > BLOCK_BYTES_MAX:
            self.counts["unsolicited"] += 1
            if not wanting:
                peer.stray(digest)
            return
        self.counts["received"] += 1
        for fetch in wanting:
            await fetch.block(digest, data)
        peer.answered(digest)


class _Partings(INotifee):  # type: ignore[misc]  # mypy has no py-libp2p to look at
    """Tells an exchange when a peer hangs up."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def disconnected(self, network: Any, conn: Any) -> None:
        """See `INotifee.disconnected`."""
        peer_id = conn.muxed_conn.peer_id
        if all(other is conn for other in network.get_connections(peer_id)):
            self._exchange.parted(peer_id)

    async def connected(self, network: Any, conn: Any) -> None:
        """Is of no interest here, as what follows."""

    async def opened_stream(self, network: Any, stream: Any) -> None:
        """See above."""

    async def closed_stream(self, network: Any, stream: Any) -> None:
        """See above."""

    async def listen(self, network: Any, multiaddr: Any) -> None:
        """See above."""

    async def listen_close(self, network: Any, multiaddr: Any) -> None:
        """See above."""
