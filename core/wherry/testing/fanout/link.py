"""One end of a simulated connection: real messages as bytes, and blocks as numbers (specs/0030 §3).

What the ``tcp`` transport does with a message, this does: see its sessions. Each message is encoded, travels as bytes, and is
decoded again; only the bytes of blocks are not there.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from wherry.abc.exchange import HaveMap, PeerInfo, PeerLink
from wherry.abc.transport import Want as Wanted
from wherry.limits import HAVE_SPANS_MAX, WIRE_PEERS_MAX, WIRE_SPANS_MAX
from wherry.stretches import Stretches
from wherry.wire.encoding import blocks_head, decode, decode_head, decode_request, encode
from wherry.wire.frames import HEADER_BYTES, SIZE_BYTES, Answer, missing
from wherry.wire.messages import (
    HEAD_BYTES,
    REQUEST_BYTES,
    BlocksFlag,
    Bye,
    Cancel,
    Choke,
    Follow,
    Have,
    HaveFlag,
    Kind,
    Peers,
    Unchoke,
    Unfollow,
    Want,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.exchange import Peer
    from wherry.cid import CID
    from wherry.testing.fanout.getting import Getting
    from wherry.testing.fanout.node import Node
    from wherry.testing.fanout.pipe import Flow
    from wherry.transfer.source import Source, Task
    from wherry.wire.messages import Message

_FRAME_BYTES: Final = HEADER_BYTES + SIZE_BYTES  # before the bytes of one block
_REFUSED: Final = BlocksFlag.FINAL | BlocksFlag.REFUSED


@lru_cache(maxsize=8192)
def _read(data: bytes) -> Message:
    """Reads a message; one that is told to many is read once, as its values are immutable."""
    return decode(decode_head(data[:HEAD_BYTES]), data[HEAD_BYTES:])


@lru_cache(maxsize=64)
def _write(have: Have) -> bytes:
    return encode(have)


class End(PeerLink):
    """Where one node holds a connection."""

    other: End

    def __init__(self, node: Node, other: Node, *, incoming: bool, latency_s: float) -> None:
        self.info = PeerInfo("tcps", other.id, other.address, other.ip, incoming)
        self.node = node
        self.peer: Peer | None = None  # core's side; None: not met yet, or closed
        self.open = False
        self.closing = False
        self.source: Source | None = None  # as the node's scheduler knows it
        self.getting: Getting | None = None  # whose source it is
        self.asked: dict[int, tuple[Task[int], int]] = {}  # what this end asked for: number -> job, bytes of it
        self.latency_s = latency_s
        self._lands = 0.0  # when what was sent last is there: nothing overtakes it
        self._numbers = 0
        self._waiting: dict[int, Want] = {}  # what the other end asked for
        self._serving: dict[int, Flow | None] = {}  # answers under way; None: sent, and the peer takes it slowly
        self._choking = False
        self._maps: dict[CID, HaveMap] = {}

    # Sending

    def _put(self, data: bytes) -> None:
        node = self.node
        node.told += len(data)
        node.clock.at(self._arrival(node.clock.now), self.other.took, data)

    def _arrival(self, sent_at: float) -> float:
        self._lands = max(sent_at + self.latency_s + self.node.world.resent(self), self._lands)
        return self._lands

    def send(self, message: Message) -> None:
        """Sends a message."""
        self._put(encode(message))

    def ask(self, task: Task[int]) -> int:
        """Asks for a block; gives the number of the request."""
        self._numbers = number = self._numbers + 1
        start, end = task.spans[0]
        self.asked[number] = task, end - start
        self.send(Want(number, end - start, (self.node.world.cids[task.job],), (end - start,)))
        return number

    def unask(self, task: Task[int]) -> None:
        """Takes the request for a job back."""
        for number, (asked, _) in self.asked.items():
            if asked is task:
                del self.asked[number]
                self.send(Cancel(number))
                return

    # What the other end says

    def took(self, data: bytes) -> None:
        """Takes a message."""
        peer = self.peer
        if peer is None:
            return
        if data[0] == Kind.BLOCKS:
            self._unanswered(data)
            return
        message = _read(data) if data[0] == Kind.HAVE else decode(decode_head(data[:HEAD_BYTES]), data[HEAD_BYTES:])
        if isinstance(message, Want):
            if self._choking:
                self._put(blocks_head(message.request, 0, _REFUSED))
            else:
                self._waiting[message.request] = message
                peer.asked(message.request, message.cids)
        elif isinstance(message, Have):
            self._has(peer, message)
        elif isinstance(message, Cancel):
            self._cancelled(peer, message.request)
        elif isinstance(message, Follow):
            peer.follows(message.root)
        elif isinstance(message, Unfollow):
            peer.unfollows(message.root)
        elif isinstance(message, Peers):
            peer.peers(message.addresses)
        elif isinstance(message, Choke | Unchoke):
            peer.choked(on=isinstance(message, Choke))
        elif isinstance(message, Bye):
            self.end(message.reason)

    def _has(self, peer: Peer, have: Have) -> None:
        if have.root not in self._maps:
            return
        if have.flags & HaveFlag.NOTHING:
            self._maps[have.root] = HaveMap(Stretches())
            peer.has_nothing(have.root)
            return
        fresh = not have.flags & HaveFlag.GAINED
        spans = Stretches() if fresh else self._maps[have.root].spans
        for start, end in have.spans:
            if len(spans) < HAVE_SPANS_MAX or spans.covers(start - 1, start):
                spans.add(start, end)
        found = HaveMap(spans, bool(have.flags & HaveFlag.COMPLETE), bool(have.flags & HaveFlag.CHOOSY))
        self._maps[have.root] = found
        peer.has(have.root, found, None if fresh else have.spans)

    def _cancelled(self, peer: Peer, number: int) -> None:
        self._waiting.pop(number, None)
        peer.cancelled(number)
        flow = self._serving.get(number)
        if flow is not None:
            self._answered(number, self._cut(flow))

    def _cut(self, flow: Flow) -> int:
        node = self.node
        sent = node.uplink.cut(flow)
        node.sent += sent
        node.cut += sent
        return sent

    # Blocks

    def answer(self, request: int) -> None:
        """See `PeerLink.answer`."""
        want = self._waiting.pop(request, None)
        if want is None:
            return
        node = self.node
        node.serving += 1
        node.serving_peak = max(node.serving_peak, node.serving)
        block = node.world.block_of[want.cids[0]]
        if not node.gives(block):
            self._put(blocks_head(request, HEADER_BYTES, BlocksFlag.FINAL) + missing(0, 1).head)
            self._serving[request] = None
            node.clock.after(0.0, self._answered, request, 0)
            return
        size = want.sizes[0] or 0
        self._serving[request] = node.uplink.send(size, partial(self._sent, request, block, size))

    def _sent(self, request: int, block: int, size: int) -> None:
        """The last byte of a block has left this node."""
        self._serving[request] = None
        node, now = self.node, self.node.clock.now
        node.sent += size
        head = blocks_head(request, _FRAME_BYTES + size, BlocksFlag.FINAL)
        node.told += len(head) + _FRAME_BYTES
        through = self.other.node.downlink.take(now, size)
        node.clock.at(self._arrival(through), self.other.came, head, block, size, not node.lies)
        if through > now:  # the peer is slow, and what it does not take fills the socket
            node.clock.at(through, self._answered, request, size)
        else:
            self._answered(request, size)

    def _answered(self, request: int, sent: int) -> None:
        if self.peer is not None:
            del self._serving[request]
            self.node.serving -= 1
            self.peer.answered(request, sent)

    def came(self, head: bytes, block: int, size: int, right: bool) -> None:
        """Takes a block that the other end sent."""
        if self.peer is None:
            self.node.cut += size
            return
        decode_head(head[:HEAD_BYTES])
        self.node.heard_at = self.node.clock.now
        asked = self.asked.pop(decode_request(head[HEAD_BYTES : HEAD_BYTES + REQUEST_BYTES]), None)
        if asked is None or self.getting is None:
            self.node.twice += size  # it was taken back, too late
            if self.getting is not None:
                self.getting.scheduler.twice(size)
        else:
            self.getting.came(self, asked[0], block, size, right=right)

    def _unanswered(self, data: bytes) -> None:
        """A request was refused, or the block is not there."""
        asked = self.asked.pop(decode_request(data[HEAD_BYTES : HEAD_BYTES + REQUEST_BYTES]), None)
        if asked is None or self.getting is None:
            return
        if decode_head(data[:HEAD_BYTES]).flags & BlocksFlag.REFUSED:
            self.getting.refused(self, asked[0])
            return
        answer = Answer([Wanted(self.node.world.cids[asked[0].job], asked[1])], self.info.address)
        answer.header(data[HEAD_BYTES + REQUEST_BYTES :])
        self.getting.lacked(self, asked[0])

    # What core says (`PeerLink`)

    def follow(self, root: CID) -> None:
        """See `PeerLink.follow`."""
        if root not in self._maps:
            self._maps[root] = HaveMap(Stretches())
            self.send(Follow(root))

    def unfollow(self, root: CID) -> None:
        """See `PeerLink.unfollow`."""
        if self._maps.pop(root, None) is not None:
            self.send(Unfollow(root))

    def tell_have(self, root: CID, have: HaveMap | None, gained: Sequence[tuple[int, int]] | None = None) -> None:
        """See `PeerLink.tell_have`."""
        if have is None:
            self.send(Have(root, (), HaveFlag.NOTHING))
            return
        flags = HaveFlag.COMPLETE if have.complete else HaveFlag(0)
        if have.choosy:
            flags |= HaveFlag.CHOOSY
        spans = tuple(have.spans) if gained is None else tuple(Stretches(gained)) if len(gained) > 1 else tuple(gained)
        if have.complete and not have.choosy:
            spans = ()
        if gained is not None:
            flags |= HaveFlag.GAINED
        while True:
            self._put(_write(Have(root, spans[:WIRE_SPANS_MAX], flags)))
            spans = spans[WIRE_SPANS_MAX:]
            flags |= HaveFlag.GAINED
            if not spans:
                return

    def tell_peers(self, addresses: Sequence[str]) -> None:
        """See `PeerLink.tell_peers`."""
        for start in range(0, len(addresses), WIRE_PEERS_MAX):
            self.send(Peers(tuple(addresses[start : start + WIRE_PEERS_MAX])))

    def choke(self, *, on: bool) -> None:
        """See `PeerLink.choke`. A freeloader chokes everybody, whatever its swarm thinks."""
        on = on or self.node.freeloads
        if on == self._choking:
            return
        self._choking = on
        self.send(Choke() if on else Unchoke())
        if on:
            waiting, self._waiting = self._waiting, {}
            for number in waiting:
                self._put(blocks_head(number, 0, _REFUSED))

    def close(self, reason: str) -> None:
        """See `PeerLink.close`."""
        self.closing = True
        self.send(Bye(reason))
        self.node.clock.after(0.0, self.end, reason)

    def end(self, reason: str) -> None:
        """The connection is gone at this end: core is told, and nothing else comes. The other end is not told here."""
        if not self.open:
            return
        self.open = False
        peer, self.peer = self.peer, None
        node = self.node
        node.ends.pop(self, None)
        for flow in self._serving.values():
            if flow is not None:
                self._cut(flow)
        node.serving -= len(self._serving)
        self._serving.clear()
        self._waiting.clear()
        if peer is not None:
            peer.closed(reason)
        node.clock.mark(2, node.number, self.other.node.number)
        if self.getting is not None:
            self.getting.ended(self, reason)
        node.clock.after(self.latency_s, self.other.end, reason)
