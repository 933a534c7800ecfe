"""Fills the cache with a dataset, so that this node can serve it without its files (specs/0005 §7).

    walk (nodes fetched ahead, and kept in the store) -> batches of leaves -> in the cache already? -> in files here?
         -> fetch -> verify and put, a transaction for all that arrived together

Blocks are kept as they travel: those of an encrypted dataset stay sealed. A run that was interrupted is begun again; what is
held is skipped. Where the cache has no room left but by forgetting, what is held is read instead, which verifies it and makes
it recently used: or a dataset would push out its own beginning.
"""

from __future__ import annotations

import threading
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.abc.transport import Want
from wherry.block import Block, verify
from wherry.dag.walk import EnterFile, Leaf, Walk
from wherry.errors import IntegrityError, LimitExceeded, NoSpace, WherryError
from wherry.limits import BATCH_WANTS_MAX, BUFFER_BYTES, LEAF_BYTES_MAX
from wherry.offload import in_thread
from wherry.transfer.fetch import fetch_once
from wherry.transfer.jobs import Job
from wherry.transfer.local import HeldChannel
from wherry.units import format_size

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from wherry.abc.transport import Arrival
    from wherry.buffers import Buffer, BufferPool
    from wherry.cid import CID
    from wherry.dag.walk import Root
    from wherry.store.cached import Cached
    from wherry.store.store import Store
    from wherry.transfer.fetch import Fetcher
    from wherry.transfer.tree import Nodes

_SEALED_MORE: Final = 8  # sealed blocks may be longer than what is in them, by padding: an eighth at most (specs/0016)


class Wanted(NamedTuple):
    """A leaf of a dataset, as a block."""

    cid: CID
    size: int | None  # bytes of the block; None: not known before it is here
    plain_bytes: int  # of content in it
    path: str = ""  # where it lies in the dataset, for sources that hold plain copies; "" of a sealed one
    offset: int = 0


async def blocks_of(nodes: Nodes, root: Root) -> AsyncGenerator[Wanted, None]:
    """Gives the leaves of a dataset, each time that one occurs, in order. Its manifest nodes come into the store on the way."""
    sealing = nodes.unlocked.sealing if nodes.unlocked is not None else None
    path = ""
    async with aclosing(nodes.steps(Walk(root.entry))) as steps:
        async for step in steps:
            if isinstance(step, EnterFile):
                path = step.path
            elif isinstance(step, Leaf) and sealing is not None:
                yield Wanted(step.cid, sealing.wire_size(step.size), step.size)
            elif isinstance(step, Leaf):
                yield Wanted(step.cid, step.size, step.size, path, step.offset)


class Warming:
    """One run. Made and used on one event loop; its jobs settle in any thread."""

    def __init__(
        self, nodes: Nodes, fetcher: Fetcher, store: Store, cached: Cached, pool: BufferPool, *, bytes_max: int | None = None
    ) -> None:
        """``bytes_max``: end behind so many bytes of content."""
        self._nodes = nodes
        self._fetcher = fetcher
        self._store = store
        self._cached = cached
        self._pool = pool
        self._bytes_max = bytes_max
        self._tight = False  # the cache must forget to take all of it
        self._first: CID | None = None  # of those in the cache, which goes first
        self._lock = threading.Lock()
        self.total_bytes: int | None = None  # of content to be in the cache at the end
        self.done_bytes = 0  # of content in the cache
        self.blocks = 0
        self.held_bytes = 0  # of those, what was there before
        self.complete = True  # to the end of the dataset

    async def run(self, root: Root) -> None:
        """Fills the cache. Raises NoSpace if it does not fit, or the cache does not keep it, and what fetching does."""
        wanted = min(root.entry.size, self._bytes_max if self._bytes_max is not None else root.entry.size)
        await self._look_for_room(root.entry.size, wanted)
        self.total_bytes = wanted
        local = HeldChannel(self._store) if await in_thread(self._store.index.holds_any) else None
        batch: list[Wanted] = []
        size = 0
        async with aclosing(self._chosen(root)) as leaves:
            async for leaf in leaves:
                length = leaf.size or leaf.plain_bytes
                if batch and (len(batch) == BATCH_WANTS_MAX or size + length > BUFFER_BYTES):
                    await self._send(batch, local)
                    batch, size = [], 0
                batch.append(leaf)
                size += length
        await self._send(batch, local)
        await self._fetcher.drained()
        await in_thread(self._look_for_first)

    async def _look_for_room(self, size: int, wanted: int) -> None:
        usage = await in_thread(self._cached.usage)
        sealed = size // _SEALED_MORE if self._nodes.unlocked is not None else 0
        if self._bytes_max is None and size + sealed > usage.bytes_max:
            raise NoSpace(
                f"the dataset has {format_size(size)}, and the cache keeps at most {format_size(usage.bytes_max)}",
                hint="raise max_bytes of the cache, or take its beginning with --bytes",
            )
        self._tight = usage.bytes + wanted + sealed > usage.bytes_max

    async def _chosen(self, root: Root) -> AsyncGenerator[Wanted, None]:
        """Gives the leaves up to the bound, and counts files."""
        left = self._bytes_max if self._bytes_max is not None else root.entry.size
        if self._nodes.leaf is not None:  # had to be fetched to be known, so it is here
            await self._put_root(self._nodes.leaf, left)
            return
        async with aclosing(blocks_of(self._nodes, root)) as leaves:
            async for leaf in leaves:
                if leaf.plain_bytes > left:
                    self.complete = False
                    return
                left -= leaf.plain_bytes
                yield leaf

    async def _put_root(self, block: Block, left: int) -> None:
        size = len(block.data)
        self.complete = size <= left
        if not size or not self.complete:
            return
        held = all(await in_thread(lambda: self._cached.holds([block.cid])))
        await in_thread(lambda: self.keep([block], [Wanted(block.cid, size, size)]))
        self.held_bytes += size * held

    async def _send(self, batch: Sequence[Wanted], local: HeldChannel | None) -> None:
        left = await in_thread(partial(self._without_held, batch))
        if left and local is not None:
            attempt = KeepJob(self, left)
            await fetch_once(local, attempt, self._pool, "this machine")
            left = attempt.left
        if left:
            await self._fetcher.put(KeepJob(self, left))

    def _without_held(self, batch: Sequence[Wanted]) -> list[Wanted]:
        """Gives what of a batch is to be put, each block once; counts the others."""
        self._look_for_first()
        cids = list(dict.fromkeys(leaf.cid for leaf in batch))
        there = {cid for cid, held in zip(cids, self._cached.holds(cids), strict=True) if held}
        if self._tight:
            there &= self._cached.get(list(there)).keys()
        held = [leaf for leaf in batch if leaf.cid in there]
        self._count(held)
        with self._lock:
            self.held_bytes += sum([leaf.plain_bytes for leaf in held])
        fresh = {leaf.cid: leaf for leaf in batch if leaf.cid not in there}
        self._count([leaf for leaf in batch if leaf.cid in fresh and leaf is not fresh[leaf.cid]], first=False)
        return list(fresh.values())

    def _count(self, leaves: Sequence[Wanted], *, first: bool = True) -> None:
        with self._lock:
            self.done_bytes += sum([leaf.plain_bytes for leaf in leaves])
            self.blocks += len(leaves)
            if first and leaves and self._first is None:
                self._first = leaves[0].cid

    def _look_for_first(self) -> None:
        """Raises NoSpace if the cache forgets the dataset's beginning to take in its end."""
        if self._first is not None and not all(self._cached.holds([self._first])):
            self._give_up()

    def _give_up(self) -> None:
        usage = self._cached.usage()
        raise NoSpace(
            f"the cache does not keep all of it: it is full with {format_size(usage.bytes)} of {format_size(usage.bytes_max)}"
            f" when {format_size(self.done_bytes)} were put",
            hint="raise max_bytes of the cache, lower its min_free, or take less with --bytes",
        )

    def keep(self, blocks: Sequence[Block], leaves: Sequence[Wanted]) -> None:
        """Puts verified blocks, which are ``leaves``. Any thread. Raises NoSpace if the cache lets go of one, StoreError."""
        self._cached.put(blocks)
        if not all(self._cached.holds([block.cid for block in blocks])):
            self._give_up()
        self._count(leaves)


class KeepJob(Job):
    """A batch of blocks that go to the cache."""

    def __init__(self, warming: Warming, leaves: Sequence[Wanted]) -> None:
        self._warming = warming
        self._leaves = leaves
        self.wants = [Want(leaf.cid, leaf.size, leaf.path, leaf.offset) for leaf in leaves]
        self.size = sum([leaf.size or 0 for leaf in leaves])
        self._done = bytearray(len(leaves))

    def settle(self, arrival: Arrival, peer: str) -> None:
        """See `Job.settle`."""
        arrival.settled = True
        if arrival.buffer is None:
            return
        try:
            good = self._verified(arrival, arrival.buffer, peer)
            if good:
                self._warming.keep(list(good.values()), [self._leaves[number] for number in good])
            for number in good:
                self._done[number] = 1
        except BaseException as problem:  # noqa: BLE001 - this thread is the transport's: core raises it again on its own
            arrival.failure = problem

    def _verified(self, arrival: Arrival, buffer: Buffer, peer: str) -> dict[int, Block]:
        good: dict[int, Block] = {}
        for laid in arrival.blocks:
            leaf, size = self._leaves[laid.want], laid.stop - laid.start
            if self._done[laid.want] or laid.want in good:
                continue  # came twice
            try:
                if leaf.size is not None and size != leaf.size:
                    raise IntegrityError(f"block {leaf.cid} from {peer} has {size} bytes, not {leaf.size}")
                if size > LEAF_BYTES_MAX:
                    raise LimitExceeded(f"block {leaf.cid} from {peer} has {size} bytes, at most {LEAF_BYTES_MAX}")
                view = buffer.view[laid.start : laid.stop]
                verify(leaf.cid, view, origin=peer)
                good[laid.want] = Block(leaf.cid, bytes(view))
            except WherryError as problem:
                arrival.rejected.append((laid.want, problem))
        return good

    @property
    def left(self) -> list[Wanted]:
        """What is not kept yet."""
        return [leaf for leaf, done in zip(self._leaves, self._done, strict=True) if not done]

    @property
    def progress(self) -> int:
        """See `Job.progress`."""
        return sum(self._done)

    def rest(self, missing: set[int]) -> tuple[KeepJob | None, KeepJob | None]:
        """See `Job.rest`."""
        absent: list[Wanted] = []
        left: list[Wanted] = []
        for number, leaf in enumerate(self._leaves):
            if not self._done[number]:
                (absent if number in missing else left).append(leaf)
        return self._some(absent), self._some(left)

    def _some(self, leaves: list[Wanted]) -> KeepJob | None:
        return KeepJob(self._warming, leaves) if leaves else None
