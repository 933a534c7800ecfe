"""`cat`, `ls` and `stat`: reading what a CID stands for, from few nodes, without a target."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Final

from wherry.block import Block, other_size
from wherry.dag.walk import EnterDir, EnterFile, Leaf, LinkStep
from wherry.errors import IntegrityError, NotFound, UsageError, of_block
from wherry.manifest import DIR, FILE, LINK
from wherry.names import shown
from wherry.offload import in_thread, settled
from wherry.transfer.tree import read_here, walk_of
from wherry.unixfs.wrap import unwrap

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from wherry.manifest import Entry
    from wherry.store.store import Store
    from wherry.transfer.fetch import Fetcher
    from wherry.transfer.tree import AnyWalk, Nodes

_SHAPES: Final = {FILE: "file", DIR: "dir", LINK: "symlink"}
_AHEAD: Final = 6  # leaves read or fetched before they are asked for
_NEWEST: Final = 0.25  # weight of the newest time between two leaves
_LEAST_S: Final = 1e-3  # what lies ahead is needed later, however fast somebody reads
_HINTED: Final = 32  # leaves that the cache is told of at a time; named by a walk, of which a node names 1,024


async def entries(nodes: Nodes, root: Entry) -> AsyncGenerator[Entry, None]:
    """Gives the entries of a directory in order, or the one file itself; holds one node at a time."""
    walk = walk_of(root)
    async for step in nodes.steps(walk):
        if isinstance(step, EnterDir | EnterFile | LinkStep) and (step.path or root.kind != DIR):
            yield step.entry
            if not isinstance(step, LinkStep):
                walk.skip()


async def content(
    nodes: Nodes, store: Store, fetcher: Fetcher, root: Entry, *, offset: int, length: int | None
) -> AsyncGenerator[bytes, None]:
    """Gives the bytes of a file from ``offset``, ``length`` of them at most, leaf by leaf. Raises UsageError, NotFound.

    IntegrityError where a leaf is not as long as the file's nodes list. Leaves that were fetched are kept in the cache.
    """
    if offset < 0 or (length or 0) < 0:
        raise UsageError("offset and length are at least 0")
    if root.kind != FILE:
        if root.kind == LINK:
            raise UsageError(
                "this is a symbolic link, not a file", hint=f"it leads to {shown(root.target)}; give the path of a file"
            )
        raise UsageError("this is a directory, not a file", hint="`wherry ls` shows what is in it; give the path of a file")
    if offset > root.size:
        raise NotFound(f"the file has {root.size} bytes, none at {offset}", hint=f"give an --offset of at most {root.size}")
    stop = root.size if length is None else min(root.size, offset + length)
    pace = _Pace(time.monotonic())
    running: deque[tuple[Leaf, asyncio.Task[Block]]] = deque()
    try:
        if offset < stop:
            async with aclosing(_announced(nodes, store, walk_of(root, start=offset, stop=stop))) as leaves:
                async for leaf in leaves:
                    due = pace.due(time.monotonic(), len(running))
                    running.append((leaf, asyncio.create_task(_leaf(nodes, store, fetcher, leaf, due))))
                    if len(running) >= _AHEAD:
                        first, task = running.popleft()
                        piece = _cut(first, await task, offset, stop, root.name)
                        pace.took(time.monotonic())
                        yield piece
        while running:
            leaf, task = running.popleft()
            yield _cut(leaf, await task, offset, stop, root.name)
    finally:
        for _, task in running:
            task.cancel()
        await settled([task for _, task in running])


class _Pace:
    """How fast somebody reads, and so when what lies ahead is needed. Pure: times come in."""

    def __init__(self, now: float) -> None:
        self._last = now
        self._each_s = 0.0  # between two leaves, lately

    def took(self, now: float) -> None:
        """One leaf more is read."""
        self._each_s += _NEWEST * (now - self._last - self._each_s)
        self._last = now

    def due(self, now: float, ahead: int) -> float:
        """Gives when the leaf is needed before which ``ahead`` others are."""
        return now + ahead * max(self._each_s, _LEAST_S)


async def _announced(nodes: Nodes, store: Store, walk: AnyWalk) -> AsyncGenerator[Leaf, None]:
    """Gives the leaves of a walk; tells the cache of them in batches, before they are read."""
    batch: list[Leaf] = []
    full = _AHEAD  # the first ones are asked for at once, so they are neither announced nor held back for a long batch
    async with aclosing(nodes.steps(walk)) as steps:
        async for step in steps:
            if isinstance(step, Leaf):
                batch.append(step)
                if len(batch) == full:
                    if full > _AHEAD:
                        await in_thread(partial(store.prefetch, [leaf.cid for leaf in batch]))
                    for leaf in batch:
                        yield leaf
                    batch, full = [], _HINTED
    if len(batch) > _AHEAD:
        await in_thread(partial(store.prefetch, [leaf.cid for leaf in batch]))
    for leaf in batch:
        yield leaf


def _cut(leaf: Leaf, block: Block, offset: int, stop: int, name: str) -> bytes:
    """Gives what is wanted of a leaf, once it is as long as its parent says: the offsets of all others rest on that."""
    if len(block.data) != leaf.size:
        raise other_size(leaf.cid, len(block.data), leaf.size, name)
    first, last = max(0, offset - leaf.offset), min(leaf.size, stop - leaf.offset)
    return block.data if (first, last) == (0, leaf.size) else block.data[first:last]


async def _leaf(nodes: Nodes, store: Store, fetcher: Fetcher, leaf: Leaf, due: float) -> Block:
    """Gives the plain bytes of a leaf, named by its block's CID."""
    block = leaf.block or nodes.known(leaf.cid) or await in_thread(lambda: read_here(store, leaf.cid))
    if block is None:
        block = (await fetcher.nodes([leaf.cid], deadline=due))[leaf.cid]
        await in_thread(partial(store.offer, [block]))
    unlocked = nodes.unlocked
    if not leaf.key:
        return block
    if unlocked is None:
        return Block(leaf.cid, bytes(unwrap(memoryview(block.data), leaf.key, leaf.size)))
    sealed = block.data

    def opened() -> bytes:
        try:
            return bytes(unlocked.sealing.open_leaf(sealed, leaf.key, leaf.offset, leaf.size, final=leaf.final))
        except IntegrityError as problem:
            raise of_block(problem, leaf.cid) from problem

    return Block(leaf.cid, await in_thread(opened))


def shape(entry: Entry) -> str:
    """The word for what an entry is."""
    return _SHAPES[entry.kind]


async def leaves_of(nodes: Nodes, entry: Entry) -> tuple[int | None, int | None]:
    """Tells how many leaves a file has and how long they are (None: not alike), from its first nodes; None for others."""
    if entry.kind != FILE:
        return None, None
    if not entry.size:
        return 0, None
    async with aclosing(nodes.steps(walk_of(entry, start=0, stop=1))) as steps:
        async for step in steps:
            if isinstance(step, Leaf):
                return -(-entry.size // step.size), step.size
    return None, None
