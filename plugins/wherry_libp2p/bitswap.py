"""Bitswap 1.1 and 1.2 over the streams of py-libp2p, inside the process of its own (specs/0035 §5).

py-libp2p's own client answers on a stream that kubo never reads, closes the one that it should answer on, stores whatever
any peer sends, and keeps to no budget. So its host, its security and its muxer are used, and the exchange is done here.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from typing import Any, Final, Protocol

from wherry_libp2p.faults import Lies, Slow, linked
from wherry_libp2p.frames import BLOCK_BYTES_MAX
from wherry_libp2p.messages import MESSAGE_BYTES_MAX, Room, closed, length_of, message_of, reset, varint

try:
    import trio
    from libp2p.abc import INotifee
    from libp2p.bitswap.pb.bitswap_pb2 import Message
except ImportError:  # not installed here: the process that would run this says so, and ends
    trio = Message = None
    INotifee = object

PROTOCOLS: Final = ["/ipfs/bitswap/1.2.0", "/ipfs/bitswap/1.1.0"]
_ASKED_AT_ONCE: Final = 64  # wants in one message of ours
_WRITE_S: Final = 30.0
_IDLE_S: Final = 300.0
_UNASKED_MAX: Final = 3  # blocks that answer nothing; fewer, if fewer are waited for
_ASKED_MAX: Final = 4096  # whose answers may come late: after a time-out, a cancel, or twice
_STREAMS_MAX: Final = 32  # that one peer has opened: Helia opens one for each message
_CODECS: Final = {0x55, 0x70, 0x71}
_HAVE, _DONT_HAVE = 0, 1
_WANT_BLOCK: Final = 0

_log = logging.getLogger(__name__)


class Source(Protocol):
    """What is served: wherry, behind the socket."""

    async def seek(self, cid: bytes, *, only_whether: bool) -> bytes | None:
        """Gives a block, or an empty one if ``only_whether`` and it is here; None if it is not."""


def plain_cid(cid: bytes) -> bytes | None:
    """Gives the 36 bytes under which wherry keeps the block of a peer's CID; None if it can keep none such."""
    if len(cid) == 34 and cid[:2] == b"\x12\x20":
        return b"\x01\x70" + cid
    if len(cid) < 36 or cid[0] != 1 or cid[-34:-32] != b"\x12\x20":
        return None
    if len(cid) == 36 and cid[1] in _CODECS:
        return cid
    codec = cid[1:-34]  # another codec, of one varint: the raw twin
    good = 1 <= len(codec) <= 9 and all(byte & 0x80 for byte in codec[:-1]) and not codec[-1] & 0x80
    return b"\x01\x55" + cid[-34:] if good else None


class Fetch:
    """Wants of one request to one peer. What arrives is passed on by ``receive(index, data)``."""

    def __init__(self, cids: list[bytes], receive: Any) -> None:
        self.cids, self.receive = cids, receive
        self.left: dict[bytes, list[int]] = {}  # digest: indexes of wants
        for index, cid in enumerate(cids):
            self.left.setdefault(cid[-32:], []).append(index)
        self.problem: Exception | None = None  # why nothing more is to be expected: ValueError, ConnectionError
        self.ended = trio.Event()
        self.moved = trio.Event()  # replaced whenever something comes

    async def block(self, digest: bytes, data: bytes) -> None:
        """Takes a block that is right."""
        for index in self.left.pop(digest, ()):
            await self.receive(index, data)
        self._step()

    def missing(self, digest: bytes) -> None:
        """Takes the word that the peer has it not."""
        self.left.pop(digest, None)
        self._step()

    def fail(self, problem: Exception) -> None:
        """Ends it, with what is left of it unfulfilled."""
        self.problem = self.problem or problem
        self._step()

    def _step(self) -> None:
        self.moved.set()
        self.moved = trio.Event()
        if not self.left or self.problem:
            self.ended.set()


class Peer:
    """One peer: the stream that we write to, what we want of it, and what it waits for."""

    def __init__(self, exchange: Exchange, peer_id: Any) -> None:
        self.exchange, self.peer_id = exchange, peer_id
        self.fetches: set[Fetch] = set()
        self.waits: OrderedDict[bytes, tuple[bool, bool]] = OrderedDict()  # its CID: (the block, tell if it is not here)
        self.heard = trio.current_time()  # when it last sent a message
        self.streams = 0  # that it opened, and that are read
        self._asked: OrderedDict[bytes, None] = OrderedDict()  # digests of what it was asked for of late
        self._unasked = 0
        self._stream: Any = None
        self._lock = trio.Lock()
        self._serving = False

    async def send(self, message: Any) -> None:
        """Writes a message to the stream that we opened; opens it anew once if it was closed.

        Raises what libp2p raises, and ConnectionError when the peer is gone: who dialled it dials it again, not this.
        """
        data = message.SerializeToString()
        framed = varint(len(data)) + data
        async with self._lock:
            for attempt in (0, 1):
                try:
                    with trio.fail_after(_WRITE_S):
                        if self._stream is None:
                            # libp2p would dial, and then let nobody dial that peer for a minute if that failed.
                            if not linked(self.exchange.host, self.peer_id):
                                raise ConnectionError("the peer hung up")
                            self._stream = await self.exchange.host.new_stream(self.peer_id, PROTOCOLS)
                            # Peers of py-libp2p answer on the stream that we opened; it is read, and never closed for that.
                            self.exchange.nursery.start_soon(self.exchange.read, self._stream, self, False)
                        await self._stream.write(framed)
                        return
                except Exception:  # libp2p's are many, of no common kind
                    stream, self._stream = self._stream, None
                    if stream is not None:
                        await reset(stream)  # or one that never reads would have us keep one more each time
                    if attempt:
                        raise

    def lost(self, stream: Any) -> None:
        """Forgets a stream that ended."""
        if stream is self._stream:
            self._stream = None

    def fail(self, problem: Exception) -> None:
        """Ends all that is wanted of it: it broke the protocol, or hung up. Nothing more has to be waited for."""
        for fetch in list(self.fetches):
            fetch.fail(problem)

    def stray(self, digest: bytes) -> None:
        """Takes a block that is not wanted. One that was never asked for counts against it, while it is waited for."""
        if digest not in self._asked and any(fetch.left for fetch in self.fetches):
            self._unasked += 1
            self.weigh()

    def weigh(self) -> None:
        """Ends what is wanted of it if it has sent wrong blocks for all that is still to come, or a few."""
        if not self._unasked:
            return
        left = len({digest for fetch in self.fetches for digest in fetch.left})
        if left and self._unasked < min(_UNASKED_MAX, left):
            return
        count, self._unasked = self._unasked, 0
        if left:
            self.fail(Lies(f"sends blocks that were not asked for ({count})"))

    async def want(self, fetch: Fetch) -> None:
        """Asks for all that is left of a request."""
        for digest in fetch.left:
            self._asked[digest] = None
            self._asked.move_to_end(digest)
        while len(self._asked) > _ASKED_MAX:
            self._asked.popitem(last=False)
        cids = [fetch.cids[indexes[0]] for indexes in fetch.left.values()]
        for at in range(0, len(cids), _ASKED_AT_ONCE):
            message = Message()
            message.wantlist.full = False
            for cid in cids[at : at + _ASKED_AT_ONCE]:
                message.wantlist.entries.add(block=cid, priority=1, wantType=_WANT_BLOCK, sendDontHave=True)
            await self.send(message)

    async def cancel(self, fetch: Fetch) -> None:
        """Tells that what is left of a request is not wanted any more."""
        message = Message()
        wanted = {digest for other in self.fetches if other is not fetch for digest in other.left}
        for digest, indexes in fetch.left.items():
            if digest not in wanted:
                message.wantlist.entries.add(block=fetch.cids[indexes[0]], cancel=True)
        if len(message.wantlist.entries):
            await self.send(message)

    def asked(self, wantlist: Any) -> None:
        """Takes what the peer wants. Beyond its bound, wants are let go of and counted: it asks again."""
        if wantlist.full:
            self.waits.clear()
        for entry in wantlist.entries:
            cid = bytes(entry.block)
            if entry.cancel or len(cid) > 200:
                self.waits.pop(cid, None)
            elif cid in self.waits or len(self.waits) < self.exchange.peer_wants:
                self.waits[cid] = (entry.wantType == _WANT_BLOCK, bool(entry.sendDontHave))
            else:
                self.exchange.counts["refused"] += 1
        if self.waits and not self._serving:
            self._serving = True
            self.exchange.nursery.start_soon(self._serve)

    async def _serve(self) -> None:
        """Answers until nothing waits: one block of one peer is in memory at a time."""
        try:
            while self.waits:
                cid, (whole, tell) = self.waits.popitem(last=False)
                await self._answer(cid, whole=whole, tell=tell)
        except Exception as problem:  # noqa: BLE001  # a peer that went away must not end the others
            _log.info("serving %s: %r", self.peer_id, problem)
            self.waits.clear()
        finally:
            self._serving = False

    async def _answer(self, cid: bytes, *, whole: bool, tell: bool) -> None:
        plain = plain_cid(cid)
        data = None if plain is None else await self.exchange.source.seek(plain, only_whether=not whole)
        message = Message()
        if data is None:
            if not tell:
                return
            message.blockPresences.add(cid=cid, type=_DONT_HAVE)
        elif not whole:
            message.blockPresences.add(cid=cid, type=_HAVE)
        else:
            message.payload.add(prefix=cid[:-32] if len(cid) != 34 else b"\x00\x70\x12\x20", data=data)
            self.exchange.counts["sent"] += 1
        await self.send(message)


class Exchange:
    """Bitswap of one host. ``nursery`` runs what it starts."""

    def __init__(self, host: Any, nursery: trio.Nursery, source: Source, *, peer_wants: int, peers: int) -> None:
        self.host, self.nursery, self.source, self.peer_wants = host, nursery, source, peer_wants
        self._peers: OrderedDict[Any, Peer] = OrderedDict()
        self._peers_max = peers
        self._room = Room()
        self.counts = {"unsolicited": 0, "refused": 0, "received": 0, "sent": 0, "malformed": 0}
        for protocol in PROTOCOLS:
            host.set_stream_handler(protocol, self._opened)
        host.get_network().register_notifee(_Partings(self))

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
        if peer.streams >= _STREAMS_MAX:
            self.counts["refused"] += 1
            await reset(stream)
            return
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
        await self._room.take(peer.peer_id, length, asked=bool(peer.fetches))
        try:
            message = await message_of(stream, length)
            if message is None:
                return False
            peer.heard = trio.current_time()
            await self._take(message, peer)
        finally:
            self._room.give(peer.peer_id, length)
        return True

    async def _take(self, message: Any, peer: Peer) -> None:
        for block in message.payload:
            await self._block(block.data, peer)
        for presence in message.blockPresences:
            if presence.type == _DONT_HAVE:
                for fetch in list(peer.fetches):
                    fetch.missing(bytes(presence.cid)[-32:])
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
