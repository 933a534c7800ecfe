"""Finds what a path names, and puts the blocks of a CAR in their order (specs/0033 §5, §6). Reads lazily, within bounds.

The walk keeps a stack of links that wait and a set of blocks that were sent; both are bounded, so that neither a chain without
end nor a DAG that doubles at each level costs more than the blocks that it really has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wherry import ipld
from wherry.cid import DAG_PB
from wherry.errors import DecodeError, LimitExceeded, NotFound
from wherry.gateway.blocks import BATCH, absent
from wherry.gateway.nodes import HASH_BITS, Directory, File, Shard, links, name_hash, view
from wherry.ipld import LINKED
from wherry.limits import GATEWAY_SEEN_MAX, GATEWAY_WAITING_MAX, GATEWAY_WALK_OWN
from wherry.publiccid import PublicCID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from wherry.abc.transport import Held
    from wherry.gateway.blocks import Blocks
    from wherry.gateway.request import CarWish
    from wherry.gateway.room import Share

_SOON = 12  # nodes named before they are read
_STEP = 1024  # blocks for which more room is taken at a time


class Found(NamedTuple):
    """Where a path ended."""

    way: tuple[PublicCID, ...]  # the blocks that prove it, from the root on, without the last
    cid: PublicCID
    rest: tuple[str, ...] = ()  # the path inside of that block
    roots: tuple[PublicCID, ...] = ()  # the root, and what each part of the path led to


class Sent(NamedTuple):
    """A block of a CAR, in its turn."""

    cid: PublicCID
    held: Held | None  # None: it was read
    data: bytes = b""


def resolve(blocks: Blocks, root: PublicCID, parts: Sequence[str]) -> Found:
    """Follows a path. Raises NotFound, BlockNotFound, and what decoding raises; symbolic links are not followed."""
    way: list[PublicCID] = []
    cid, left, roots = root, list(parts), [root]
    while left:
        if cid.codec == DAG_PB:
            cid = _entry(blocks, way, cid, left.pop(0))
        elif cid.codec in LINKED:
            value, used = ipld.within(ipld.read_block(cid, blocks.node(cid)), left, cid)
            if not isinstance(value, PublicCID):
                return Found(tuple(way), cid, tuple(left), tuple(roots))
            way.append(cid)
            cid, left = value, left[used:]
        else:
            raise NotFound(f"block {cid} has no path {left[0]!r} in it")
        roots.append(cid)
    return Found(tuple(way), cid, (), tuple(roots))


def _entry(blocks: Blocks, way: list[PublicCID], cid: PublicCID, name: str) -> PublicCID:
    wanted = name.encode()
    hashed, left, fanout = -1, HASH_BITS, 0
    while True:
        node = view(cid, blocks.node(cid))
        way.append(cid)
        if isinstance(node, Directory) and not fanout:
            for entry in node.entries:
                if entry.name == wanted:
                    return entry.cid
            raise NotFound(f"no {name!r} in the directory {cid}")
        if not isinstance(node, Shard):
            raise NotFound(f"{cid} is no directory, so it has no {name!r} in it")
        if fanout and node.fanout != fanout:
            raise DecodeError(f"block {cid} should be a shard like the one above it")
        fanout = node.fanout
        left -= node.bits
        if left < 0:
            raise LimitExceeded("shards are nested deeper than a hash of 64 bits goes")
        hashed = name_hash(wanted) if hashed < 0 else hashed
        slot = next((slot for slot in node.slots if slot.bucket == hashed >> left & (fanout - 1)), None)
        if slot is None or not (slot.sub or slot.entry.name == wanted):
            raise NotFound(f"no {name!r} in the directory {cid}")
        cid = slot.entry.cid
        if not slot.sub:
            return cid


class Seen:
    """Remembers the last things that were added: at least half of ``most``, and all of them while there are no more.

    A walk that forgot the last ones instead could be led the same way again and again, without end, by a DAG whose nodes
    link twice to the next (reliability T7). For one thread.
    """

    def __init__(self, most: int = GATEWAY_SEEN_MAX, share: Share | None = None) -> None:
        """``share``: the room that there is for more than GATEWAY_WALK_OWN; where none is left, that is ``most``."""
        self._most = most
        self._share = share
        self._half = max(1, (most if share is None else min(most, GATEWAY_WALK_OWN)) // 2)
        self._new: set[bytes] = set()
        self._old: set[bytes] = set()

    def __contains__(self, key: bytes) -> bool:
        return key in self._new or key in self._old

    def add(self, key: bytes) -> bool:
        """Adds a thing; tells whether it is new."""
        if key in self:
            return False
        if len(self._new) >= self._half and not self._more():
            self._old, self._new = self._new, set()
        self._new.add(key)
        return True

    def _more(self) -> bool:
        if self._share is None or 2 * self._half >= self._most or not self._share.remember(_STEP):
            return False
        self._half += _STEP // 2
        return True


class Walk:
    """The blocks of one CAR, in order. For one thread at a time."""

    def __init__(self, blocks: Blocks, wish: CarWish, share: Share | None = None) -> None:
        """``share``: of the room that the walks of a process have, if this is one of many."""
        self._blocks = blocks
        self._wish = wish
        self._share = share
        # What was sent, and (see `_walked`) nodes below which all was sent. Both are forgotten together: a walk that knew what
        # it sent, and not where it was, could go the same ways without end and send nothing.
        self._seen = Seen(share=share)

    def blocks(self, found: Found) -> Iterator[Sent]:
        """Gives them. Raises what `absent` gives where one is missing, and what decoding raises."""
        for cid in found.way:
            if self._new(cid):
                yield Sent(cid, None, self._blocks.node(cid))
        cid, scope = found.cid, self._wish.scope
        if scope == "all":
            yield from self._tree([cid], links)
        elif scope == "entity" and cid.codec == DAG_PB:
            yield from self._entity(cid)
        elif self._new(cid):
            yield Sent(cid, self._blocks.one(cid))

    def _new(self, cid: PublicCID) -> bool:
        """Tells whether a block is to be sent: what a name holds never is, and the same block twice only where asked."""
        if cid.inline is not None:
            return False
        if self._wish.dups:
            return True
        return self._seen.add(cid.multihash)

    def _entity(self, cid: PublicCID) -> Iterator[Sent]:
        node = view(cid, self._blocks.node(cid))
        if isinstance(node, Shard):
            yield from self._tree([cid], _shards)
        elif not isinstance(node, File):
            if self._new(cid):
                yield Sent(cid, self._blocks.one(cid))
        else:
            wanted = self._wish.bytes
            span = (0, node.size) if wanted is None else wanted.within(node.size)
            yield from self._file(cid, node, span)

    def _tree(self, roots: list[PublicCID], below: Callable[[PublicCID, bytes], list[PublicCID]]) -> Iterator[Sent]:
        """Pre-order. What was walked once need not be walked again, unless each occurrence is to be sent."""
        stack = roots
        while stack:
            cid = stack.pop()
            if cid.codec not in LINKED:
                yield from self._leaves(cid, stack)
                continue
            if not self._wish.dups and not self._seen.add(_walked(cid)):
                continue
            coming = [other for other in reversed(stack[-_SOON:]) if other.codec in LINKED]
            self._blocks.soon([cid, *(other for other in coming if _walked(other) not in self._seen)])
            data = self._blocks.node(cid)
            if self._new(cid):
                yield Sent(cid, None, data)
            stack += reversed(below(cid, data))
            bounded(len(stack), self._share)

    def _leaves(self, first: PublicCID, stack: list[PublicCID]) -> Iterator[Sent]:
        """Gives a leaf and those that follow it."""
        batch = [first]
        while stack and len(batch) < BATCH and stack[-1].codec not in LINKED:
            batch.append(stack.pop())
        yield from self._held(batch)

    def _held(self, batch: Iterable[PublicCID]) -> Iterator[Sent]:
        wanted = [cid for cid in batch if self._new(cid)]
        for cid, held in zip(wanted, self._blocks.held(wanted), strict=True):
            if held is None:
                raise absent(cid)
            yield Sent(cid, held)

    def _file(self, root: PublicCID, node: File, span: tuple[int, int] | None) -> Iterator[Sent]:
        """Pre-order through the nodes of a file that have bytes between ``start`` and ``stop``; its root in any case."""
        if self._new(root):
            yield Sent(root, self._blocks.one(root))
        if span is None:
            return
        stack = pieces(node, 0, span)
        while stack:
            cid, offset, size = stack.pop()
            if cid.codec != DAG_PB:
                batch = [cid]
                while stack and len(batch) < BATCH and stack[-1][0].codec != DAG_PB:
                    batch.append(stack.pop()[0])
                yield from self._held(batch)
                continue
            if span[0] <= offset and offset + size <= span[1] and not self._wish.dups and not self._seen.add(_walked(cid)):
                continue
            data = self._blocks.node(cid)
            if self._new(cid):
                yield Sent(cid, None, data)
            inner = view(cid, data)
            if not isinstance(inner, File):
                raise DecodeError(f"block {cid} should be a piece of a file")
            stack += pieces(inner, offset, span)
            bounded(len(stack), self._share)


def pieces(node: File, offset: int, span: tuple[int, int]) -> list[tuple[PublicCID, int, int]]:
    """Gives the pieces of a node at ``offset`` that have a byte within the span: the last one first, with their offsets."""
    found = []
    at = offset + len(node.data)
    for cid, size in node.pieces:
        if at < span[1] and at + size > span[0]:
            found.append((cid, at, size))
        at += size
    found.reverse()
    return found


def _shards(cid: PublicCID, data: bytes) -> list[PublicCID]:
    node = view(cid, data)
    if not isinstance(node, Shard):
        raise DecodeError(f"block {cid} should be a shard like the one above it")
    return [slot.entry.cid for slot in node.slots if slot.sub]


def _walked(cid: PublicCID) -> bytes:
    return b"\0" + cid  # so begins what a name holds itself, which is never sent


def bounded(waiting: int, share: Share | None = None) -> None:
    """Raises LimitExceeded where a walk holds too much, or all of them do."""
    if waiting > GATEWAY_WAITING_MAX:
        raise LimitExceeded(f"more than {GATEWAY_WAITING_MAX} links wait in one walk")
    if share is not None and not share.wait(waiting):
        raise LimitExceeded(f"{waiting} links wait in one walk, and more in others than there is room for")
