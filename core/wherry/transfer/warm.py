"""Fills the cache with a dataset, so that this node can serve it without its files (specs/0005 §7).

    walk (nodes fetched ahead, and kept in the store) -> batches of leaves -> in the cache already? -> in files here?
         -> fetch -> verify and put, a transaction for all that arrived together

Blocks are kept as they travel: those of an encrypted dataset stay sealed, and are taken from its list of blocks, so no key is
needed (specs/0016 §6). A run that was interrupted is begun again; what is
held is skipped. Where the cache has no room left but by forgetting, what is held is read instead, which verifies it and makes
it recently used: or a dataset would push out its own beginning.
"""

from __future__ import annotations

import threading
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.abc.transport import Want
from wherry.block import Block, other_size, verify
from wherry.cid import DAG_CBOR, RAW
from wherry.dag.walk import EnterFile, Leaf
from wherry.errors import IntegrityError, NoSpace, WherryError
from wherry.limits import BATCH_BYTES_MAX, BATCH_WANTS_MAX, LEAF_BYTES_MAX, TREE_ENTRIES_MAX
from wherry.offload import in_thread
from wherry.sealing import blocks, header
from wherry.transfer.get import check_bounds
from wherry.transfer.jobs import Job
from wherry.transfer.local import HeldChannel
from wherry.transfer.request import fetch_once
from wherry.transfer.tree import walk_of
from wherry.units import MiB, format_size

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence

    from wherry.abc.transport import Arrival
    from wherry.buffers import Buffer, BufferPool
    from wherry.cid import CID
    from wherry.dag.walk import Root
    from wherry.sealing.blocks import Listed
    from wherry.sealing.header import Header
    from wherry.store.cached import Cached
    from wherry.store.store import Store
    from wherry.transfer.fetch import Fetcher
    from wherry.transfer.tree import Nodes


_AT_ONCE: Final = 2  # threads that copy, code and put
_PUT_BYTES: Final = MiB  # at a time: each such thread takes twice as much besides its buffer


class Wanted(NamedTuple):
    """A leaf of a dataset, as a block."""

    cid: CID
    size: int  # bytes of the block
    path: str = ""  # where it lies in the dataset, for sources that hold plain copies; "" of a sealed one
    offset: int = 0
    guessed: bool = False  # whether its size is only what a directory of UnixFS lets expect
    block: Block | None = None  # where it had to be read to be known


class Content(NamedTuple):
    """What a CID stands for, as blocks to keep."""

    size: int  # bytes of all of them
    leaves: AsyncGenerator[Wanted, None]  # each time that one occurs, in order; nodes come into the store on the way
    exact: bool = True  # False: ``size`` is a claim that nothing can be built on, of a directory of UnixFS


async def content_of(nodes: Nodes, cid: CID) -> Content:
    """Reads a root; an encrypted dataset's needs no key. Raises what fetching does, and LimitExceeded for too large a tree."""
    block = await nodes.get(cid)
    if header.is_header(block):
        found = header.decode(block)
        _, top = blocks.decode(await nodes.get(found.blocks))
        return Content(sum([listed.size for listed in top]), _listed(nodes, found))
    root = await nodes.root(cid)
    check_bounds(root.entry, bytes_max=None, entries_max=TREE_ENTRIES_MAX)
    return Content(root.entry.size, _leaves(nodes, root), exact=root.exact)


async def _leaves(nodes: Nodes, root: Root) -> AsyncGenerator[Wanted, None]:
    path = ""
    async with aclosing(nodes.steps(walk_of(root.entry))) as steps:
        async for step in steps:
            if isinstance(step, EnterFile):
                path = step.path
            elif isinstance(step, Leaf):
                if step.block is not None:
                    yield Wanted(step.cid, len(step.block.data), path, step.offset, block=step.block)
                elif not step.key:  # else it is bytes within a node that has children, and nodes are kept in any case
                    yield Wanted(step.cid, step.size, path, step.offset, step.guessed)


async def _listed(nodes: Nodes, found: Header) -> AsyncGenerator[Wanted, None]:
    """Gives the sealed leaves of a list. Its sealed nodes go to the store, as those of an open dataset do."""
    await nodes.get(found.root)
    walking = blocks.walk(found.blocks)
    item = next(walking, None)
    while item is not None:
        if not isinstance(item, list):
            item = _sent(walking, await nodes.get(item))
            continue
        sealed = list(dict.fromkeys(one.cid for one in item if one.cid.codec == DAG_CBOR))
        for at, cid in enumerate(sealed):
            await nodes.get(cid, sealed[at + 1 :])
        for one in item:
            if one.cid.codec == RAW:
                yield Wanted(one.cid, one.size)
        item = next(walking, None)


def _sent(walking: Generator[CID | list[Listed], Block | None, None], block: Block) -> CID | list[Listed] | None:
    try:
        return walking.send(block)
    except StopIteration:
        return None


class Warming:
    """One run. Made and used on one event loop; its jobs settle in any thread."""

    def __init__(
        self, nodes: Nodes, fetcher: Fetcher, store: Store, cached: Cached, pool: BufferPool, *, bytes_max: int | None = None
    ) -> None:
        """``bytes_max``: end behind so many bytes."""
        self._nodes = nodes
        self._fetcher = fetcher
        self._store = store
        self._cached = cached
        self._pool = pool
        self._bytes_max = bytes_max
        self._tight = False  # the cache must forget to take all of it
        self._first: CID | None = None  # of those in the cache, which goes first
        self._lock = threading.Lock()
        self.turn = threading.BoundedSemaphore(_AT_ONCE)  # of who copies, codes and puts what arrived
        self.total_bytes: int | None = None  # of content to be in the cache at the end
        self.done_bytes = 0  # of content in the cache
        self.blocks = 0
        self.held_bytes = 0  # of those, what was there when its turn came
        self.complete = True  # to the end of the dataset

    async def run(self, content: Content) -> None:
        """Fills the cache. Raises NoSpace if it does not fit, or the cache does not keep it, and what fetching does."""
        wanted = content.size if self._bytes_max is None else min(content.size, self._bytes_max)
        await self._look_for_room(content, wanted)
        self.total_bytes = wanted if content.exact else self._bytes_max
        local = HeldChannel(self._store) if await in_thread(self._store.index.holds_any) else None
        batch: list[Wanted] = []
        size = 0
        async with aclosing(self._chosen(content)) as leaves:
            async for leaf in leaves:
                if batch and (len(batch) == BATCH_WANTS_MAX or size + leaf.size > BATCH_BYTES_MAX):
                    await self._send(batch, local)
                    batch, size = [], 0
                batch.append(leaf)
                size += leaf.size
        await self._send(batch, local)
        await self._fetcher.drained()
        await in_thread(self._look_for_first)

    async def _look_for_room(self, content: Content, wanted: int) -> None:
        usage = await in_thread(self._cached.usage)
        size = content.size
        if self._bytes_max is None and content.exact and size > usage.bytes_max:
            raise NoSpace(
                f"the dataset has {format_size(size)}, and the cache keeps at most {format_size(usage.bytes_max)}",
                hint="raise max_bytes of the cache, or take its beginning with --bytes",
            )
        self._tight = not content.exact or usage.bytes + wanted > usage.bytes_max

    async def _chosen(self, content: Content) -> AsyncGenerator[Wanted, None]:
        """Gives the leaves up to the bound, and counts files."""
        left = self._bytes_max if self._bytes_max is not None else content.size
        if self._nodes.leaf is not None:  # had to be fetched to be known, so it is here
            await self._put_root(self._nodes.leaf, left)
            return
        async with aclosing(content.leaves) as leaves:
            async for leaf in leaves:
                if leaf.size > left and self._bytes_max is not None:
                    self.complete = False
                    return
                left -= leaf.size
                yield leaf

    async def _put_root(self, block: Block, left: int) -> None:
        size = len(block.data)
        self.complete = size <= left
        if not size or not self.complete:
            return
        held = all(await in_thread(lambda: self._cached.holds([block.cid])))
        await in_thread(lambda: self.keep([block], [Wanted(block.cid, size)]))
        self.held_bytes += size * held

    async def _send(self, batch: Sequence[Wanted], local: HeldChannel | None) -> None:
        left = await in_thread(partial(self._without_held, batch))
        known = {leaf.cid: leaf for leaf in left if leaf.block is not None}
        if known:
            blocks_known = [leaf.block for leaf in known.values() if leaf.block is not None]
            await in_thread(lambda: self.keep(blocks_known, list(known.values())))
            left = [leaf for leaf in left if leaf.block is None]
        if left and local is not None:
            attempt = KeepJob(self, left)
            await fetch_once(local, attempt, self._pool, "this machine")
            if local.odd:
                await in_thread(partial(local.compare, attempt))
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
            self.held_bytes += sum([leaf.size for leaf in held])
        fresh = {leaf.cid: leaf for leaf in batch if leaf.cid not in there}
        self._count([leaf for leaf in batch if leaf.cid in fresh and leaf is not fresh[leaf.cid]], first=False)
        return list(fresh.values())

    def _count(self, leaves: Sequence[Wanted], *, first: bool = True) -> None:
        with self._lock:
            self.done_bytes += sum([leaf.size for leaf in leaves])
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
        self._leaves = list(leaves)
        self.wants = [Want(leaf.cid, None if leaf.guessed else leaf.size, leaf.path, leaf.offset) for leaf in leaves]
        self.size = sum([leaf.size for leaf in leaves])
        self._done = bytearray(len(leaves))

    def settle(self, arrival: Arrival, peer: str) -> None:
        """See `Job.settle`."""
        arrival.settled = True
        if arrival.buffer is None:
            return
        try:
            good = self._verified(arrival, arrival.buffer, peer)
            for some in _parts(good):
                with self._warming.turn:
                    copied = [Block(self._leaves[number].cid, bytes(good[number])) for number in some]
                    self._warming.keep(copied, [self._leaves[number] for number in some])
                for number in some:
                    self._done[number] = 1
        except BaseException as problem:  # noqa: BLE001 - this thread is the transport's: core raises it again on its own
            arrival.failure = problem

    def _verified(self, arrival: Arrival, buffer: Buffer, peer: str) -> dict[int, memoryview]:
        good: dict[int, memoryview] = {}
        for laid in arrival.blocks:
            leaf, size = self._leaves[laid.want], laid.stop - laid.start
            if self._done[laid.want] or laid.want in good:
                continue  # came twice
            try:
                if size != leaf.size and not 0 < size <= LEAF_BYTES_MAX:
                    raise IntegrityError(f"block {leaf.cid} from {peer} has {size} bytes, not {leaf.size}")
                view = buffer.view[laid.start : laid.stop]
                verify(leaf.cid, view, origin=peer)
            except WherryError as problem:
                arrival.rejected.append((laid.want, problem))
                continue
            if size != leaf.size and not leaf.guessed:
                raise other_size(leaf.cid, size, leaf.size, leaf.path)
            self._leaves[laid.want] = leaf._replace(size=size, guessed=False)
            good[laid.want] = view
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


def _parts(views: Mapping[int, memoryview]) -> Iterator[list[int]]:
    """Gives the keys of ``views`` in order, in parts of few bytes, or of one view."""
    part: list[int] = []
    size = 0
    for number, view in views.items():
        if part and size + len(view) > _PUT_BYTES:
            yield part
            part, size = [], 0
        part.append(number)
        size += len(view)
    if part:
        yield part
