"""`cat`, `ls` and `stat`: reading what a CID stands for, from few nodes, without a target."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from wherry.block import Block, checked
from wherry.dag.walk import EnterDir, EnterFile, Leaf, LinkStep, Walk
from wherry.errors import NotFound, UsageError, WherryError
from wherry.manifest import DIR, FILE, LINK
from wherry.offload import in_thread, settled

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from wherry.cid import CID
    from wherry.manifest import Entry
    from wherry.store.store import Store
    from wherry.transfer.fetch import Fetcher
    from wherry.transfer.tree import Nodes

_AHEAD: Final = 6  # leaves read or fetched before they are asked for


async def entries(nodes: Nodes, root: Entry) -> AsyncGenerator[Entry, None]:
    """Gives the entries of a directory in order, or the one file itself; holds one node at a time."""
    walk = Walk(root)
    async for step in nodes.steps(walk):
        if isinstance(step, EnterDir | EnterFile | LinkStep) and (step.path or root.kind != DIR):
            yield step.entry
            if not isinstance(step, LinkStep):
                walk.skip()


async def content(
    nodes: Nodes, store: Store, fetcher: Fetcher, root: Entry, *, offset: int, length: int | None
) -> AsyncGenerator[bytes, None]:
    """Gives the bytes of a file from ``offset``, ``length`` of them at most, leaf by leaf. Raises UsageError, NotFound.

    Leaves that were fetched are kept in the cache.
    """
    if offset < 0 or (length or 0) < 0:
        raise UsageError("offset and length are at least 0")
    if root.kind != FILE:
        what = "a directory" if root.kind == DIR else "a symbolic link"
        raise UsageError(f"this is {what}, not a file", hint="`wherry ls` shows what is in it; give the path of a file")
    if offset > root.size:
        raise NotFound(f"the file has {root.size} bytes, none at {offset}")
    stop = root.size if length is None else min(root.size, offset + length)
    running: deque[tuple[Leaf, asyncio.Task[Block]]] = deque()
    try:
        if offset < stop:
            async for step in nodes.steps(Walk(root, start=offset, stop=stop)):
                if isinstance(step, Leaf):
                    running.append((step, asyncio.create_task(_leaf(store, fetcher, step))))
                    if len(running) >= _AHEAD:
                        leaf, task = running.popleft()
                        yield _cut(leaf, await task, offset, stop)
        while running:
            leaf, task = running.popleft()
            yield _cut(leaf, await task, offset, stop)
    finally:
        for _, task in running:
            task.cancel()
        await settled([task for _, task in running])


def _cut(leaf: Leaf, block: Block, offset: int, stop: int) -> bytes:
    first, last = max(0, offset - leaf.offset), min(leaf.size, stop - leaf.offset)
    return block.data if (first, last) == (0, leaf.size) else block.data[first:last]


async def _leaf(store: Store, fetcher: Fetcher, leaf: Leaf) -> Block:
    block = await in_thread(lambda: _held(store, leaf.cid))
    if block is None:
        block = (await fetcher.nodes([leaf.cid]))[leaf.cid]
        cache, found = store.cache, block
        if cache is not None:
            await in_thread(lambda: cache.put_many([found]))
    return block


def _held(store: Store, cid: CID) -> Block | None:
    held = store.find([cid])[0]
    if held is None:
        return None
    data = bytearray(held.size)
    try:
        held.read_into(memoryview(data))
        return checked(cid, bytes(data), origin="this machine")
    except WherryError:  # changed since: it is fetched instead
        return None


def shape(entry: Entry) -> str:
    """The word for what an entry is."""
    return {FILE: "file", DIR: "dir", LINK: "symlink"}[entry.kind]


async def leaves_of(nodes: Nodes, entry: Entry) -> tuple[int | None, int | None]:
    """Tells how many leaves a file has and how long they are (None: not alike), from its first nodes; None for others."""
    if entry.kind != FILE:
        return None, None
    if not entry.size:
        return 0, None
    async with aclosing(nodes.steps(Walk(entry, start=0, stop=1))) as steps:
        async for step in steps:
            if isinstance(step, Leaf):
                return -(-entry.size // step.size), step.size
    return None, None
