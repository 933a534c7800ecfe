"""One peer of Bitswap: what is asked of it, and what it is answered (specs/0035 §5)."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from wherry_libp2p.faults import Lies, linked
from wherry_libp2p.messages import reset, varint

if TYPE_CHECKING:
    from wherry_libp2p.bitswap import Exchange
    from wherry_libp2p.fetch import Fetch

try:
    import trio
    from libp2p.bitswap.pb.bitswap_pb2 import Message
except ImportError:  # not installed here: the process that would run this says so, and ends
    trio = Message = None

PROTOCOLS: Final = ["/ipfs/bitswap/1.2.0", "/ipfs/bitswap/1.1.0"]
_MIB: Final = 1024 * 1024
_COMING_BYTES_MAX: Final = 7 * _MIB  # that are asked for at a time: there is room for them (`wherry_libp2p.room`)
_COMING_MAX: Final = 32  # blocks: Helia and py-libp2p open a stream for each, of which `wherry_libp2p.muxer` takes 48
_UNKNOWN_BYTES: Final = _MIB  # for which a block of unknown size counts
_WRITE_S: Final = 30.0
_AGAIN_S: Final = 3.0  # of silence, after which it is asked again; then twice as long each time
_LOOK_S: Final = 1.0
_UNASKED_MAX: Final = 3  # blocks that answer nothing
_ASKED_MAX: Final = 4096  # whose answers may come late: after a time-out, a cancel, or twice
_CODECS: Final = {0x55, 0x70, 0x71}
_HAVE, _DONT_HAVE = 0, 1
_WANT_BLOCK: Final = 0

_log = logging.getLogger(__name__)


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


class Peer:
    """One peer: the stream that we write to, what we want of it, and what it waits for."""

    def __init__(self, exchange: Exchange, peer_id: Any) -> None:
        self.exchange, self.peer_id = exchange, peer_id
        self.fetches: set[Fetch] = set()
        self.waits: OrderedDict[bytes, tuple[bool, bool]] = OrderedDict()  # its CID: (the block, tell if it is not here)
        self.heard = trio.current_time()  # when it last began a message, or ended one
        self.streams = 0  # that it opened, and that are read
        self.begun = 0  # messages that are being read, or wait for room
        self._coming: dict[bytes, int] = {}  # digests of what it was asked for and has not answered: bytes
        self._sent = self.heard  # when it was last asked
        self._asking = self._again = False
        self._asked: OrderedDict[bytes, None] = OrderedDict()  # digests of what it was asked for of late
        self._unasked = 0  # blocks that it was never asked for
        self._doubted = 0  # as many as there were when it was asked again for that
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
        """Ends what is wanted of it if it has sent a few wrong blocks; if as many as are still to come, asks for those again.

        One alone says nothing: it may have been asked for before this process was started.
        """
        if not self._unasked:
            return
        left = len({digest for fetch in self.fetches for digest in fetch.left})
        if not left:
            self._unasked = self._doubted = 0
        elif self._unasked >= _UNASKED_MAX:
            count, self._unasked, self._doubted = self._unasked, 0, 0
            self.fail(Lies(f"sends blocks that were not asked for ({count})"))
        elif self._unasked >= left and self._unasked > self._doubted:
            self._doubted = self._unasked
            self.go_on(again=True)

    def want(self, fetch: Fetch) -> None:
        """Begins to ask for what a request wants: so much at a time as there is room for, the rest when some of it has come."""
        self.fetches.add(fetch)
        self.go_on()

    def go_on(self, *, again: bool = False) -> None:
        """Asks for more, if something is left; ``again``, also for what does not come."""
        self._again = self._again or again
        more = self._again or any(digest not in self._coming for fetch in self.fetches for digest in fetch.left)
        if more and not self._asking:
            self._asking = True
            self.exchange.nursery.start_soon(self._go_on)

    async def _go_on(self) -> None:
        try:
            while cids := self._next():
                message = Message()
                message.wantlist.full = False
                for cid in cids:
                    message.wantlist.entries.add(block=cid, priority=1, wantType=_WANT_BLOCK, sendDontHave=True)
                self._sent = trio.current_time()
                await self.send(message)
        except Exception as problem:  # noqa: BLE001  # as `send` raises; all that is wanted has failed
            self.fail(problem)
        finally:
            self._asking = False

    def _next(self) -> list[bytes]:
        """Gives the CIDs to ask for now, and counts their blocks as coming."""
        wanted: dict[bytes, tuple[bytes, int]] = {}
        for fetch in sorted(self.fetches, key=lambda fetch: fetch.number):
            for digest, (index, *_) in ({} if fetch.problem else fetch.left).items():
                size = fetch.sizes[index]
                wanted.setdefault(digest, (fetch.cids[index], _UNKNOWN_BYTES if size is None else size))
        self._coming = {digest: size for digest, size in self._coming.items() if digest in wanted}
        again, self._again = self._again, False
        cids = [wanted[digest][0] for digest in self._coming] if again else []
        most, count = min(_COMING_BYTES_MAX, self.exchange.share), sum(self._coming.values())
        for digest, (cid, size) in wanted.items():
            if digest in self._coming:
                continue
            if self._coming and (count + size > most or len(self._coming) >= _COMING_MAX):
                break
            count += size
            self._coming[digest] = size
            self._asked[digest] = None
            self._asked.move_to_end(digest)
            cids.append(cid)
        while len(self._asked) > _ASKED_MAX:
            self._asked.popitem(last=False)
        return cids

    def answered(self, digest: bytes) -> None:
        """Takes the word that something was answered: more can be asked for."""
        self._coming.pop(digest, None)
        self.go_on()

    async def fulfilled(self, fetch: Fetch, idle_s: float) -> None:
        """Waits until a request has ended; what does not come is asked for again, as a stream may have been lost.

        Raises TooSlowError if nothing of it came for ``idle_s`` seconds, in which it could have.
        """
        since, wait = trio.current_time(), _AGAIN_S
        while not fetch.ended.is_set():
            moved = fetch.moved
            with trio.move_on_after(min(_LOOK_S, idle_s)) as scope:
                await moved.wait()
            now = trio.current_time()
            if not scope.cancelled_caught or self._held_up(fetch):
                since, wait = now, _AGAIN_S
            elif now - since >= idle_s:
                raise trio.TooSlowError
            elif not self.begun and now - max(since, self.heard, self._sent) >= wait:
                wait *= 2
                self.go_on(again=True)

    def _held_up(self, fetch: Fetch) -> bool:
        """Tells whether it is ours that nothing comes: it was not asked for yet, or cannot be heard."""
        return not any(digest in self._coming for digest in fetch.left) or self.exchange.room.crowded(self.peer_id)

    def drop(self, fetch: Fetch) -> None:
        """Forgets a request."""
        self.fetches.discard(fetch)
        self.go_on()

    async def cancel(self, fetch: Fetch) -> None:
        """Tells that what is left of a request is not wanted any more."""
        message = Message()
        wanted = {digest for other in self.fetches if other is not fetch for digest in other.left}
        for digest, indexes in fetch.left.items():
            if digest not in wanted and digest in self._coming:
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
