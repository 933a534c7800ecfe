"""Blocks of this node and, where they are not here, of sources: fetched while a walk asks for them (specs/0038 §5).

A walk runs in a thread, and fetches run on the loop. What the walk will soon ask for is fetched ahead of it, a few blocks at a
time, so that it does not wait a round trip for each, and memory stays bounded. Blocks with links are offered to the cache.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Final

from wherry.abc.transport import Held
from wherry.errors import CIDError, LimitExceeded
from wherry.gateway.blocks import Blocks
from wherry.limits import PB_BYTES_MAX
from wherry.offload import settled
from wherry.store.held import there

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.block import Block
    from wherry.cid import CID
    from wherry.publiccid import PublicCID
    from wherry.store.store import Store
    from wherry.transfer.fetch import Fetcher

_AHEAD: Final = 6  # leaves, of 4 MiB at the most
_NODES_AHEAD: Final = 12  # of 2 MiB at the most


class FetchedBlocks(Blocks):
    """Made, cancelled and closed on the loop that ``fetcher`` runs on; read in one thread at a time."""

    def __init__(self, store: Store, fetcher: Fetcher) -> None:
        super().__init__(store)
        self._store = store
        self._fetcher = fetcher
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[asyncio.Task[dict[CID, Block]], Future[Block]] = {}
        self._soon: dict[CID, Future[Block]] = {}
        self._over = False
        self.fetched = 0  # blocks

    @property
    def wire_bytes(self) -> int:
        """What came from the sources."""
        return self._fetcher.wire_bytes

    def cancel(self) -> None:
        """Ends every wait, now and from now on, with InterruptedError."""
        self._over = True
        for task in self._tasks:
            task.cancel()

    async def close(self) -> None:
        """Ends what is under way, and waits for it."""
        self.cancel()
        await settled(list(self._tasks))

    def held(self, cids: Sequence[PublicCID]) -> list[Held | None]:
        """Looks up a batch. What is not here is fetched when it is read, or its size asked for; best in order."""
        found = super().held(cids)
        absent: list[tuple[int, CID]] = []
        for at, (cid, held) in enumerate(zip(cids, found, strict=True)):
            if not there(held):
                try:
                    absent.append((at, cid.block()))
                except CIDError:  # a hash that nothing is fetched by
                    continue
        ahead = _Ahead(self, [name for _, name in absent])
        for place, (at, _) in enumerate(absent):
            found[at] = HeldAhead(ahead, place)
        return found

    def node(self, cid: PublicCID) -> bytes:
        """Reads a block that is to be decoded, and fetches it first if it is not here. Raises what both raise."""
        if cid.inline is not None:
            return super().node(cid)
        name = cid.block()
        future = self._soon.pop(name, None)
        if future is None:
            if there(super().held([cid])[0]):
                return super().node(cid)
            future = self.ask(name)
        block = self.wait(future)
        if len(block.data) > PB_BYTES_MAX:
            raise LimitExceeded(f"block {cid} has {len(block.data)} bytes, at most {PB_BYTES_MAX} are decoded")
        self._store.offer([block])
        return block.data

    def soon(self, cids: Sequence[PublicCID]) -> None:
        """Begins to fetch blocks that will be read as nodes, the first one first."""
        wanted = cids[:_NODES_AHEAD]
        for cid, held in zip(wanted, super().held(wanted), strict=True):
            if there(held):
                continue
            try:
                name = cid.block()
            except CIDError:
                continue
            if name in self._soon:
                continue
            if len(self._soon) >= _NODES_AHEAD:
                break
            self._soon[name] = self.ask(name)

    def ask(self, name: CID) -> Future[Block]:
        """Begins to fetch a block."""
        future: Future[Block] = Future()
        self._loop.call_soon_threadsafe(self._begin, name, future)
        return future

    def wait(self, future: Future[Block]) -> Block:
        """Waits for a block. Raises InterruptedError after `cancel`, also where nothing more is fetched."""
        block = future.result()
        self.fetched += 1
        return block

    def _begin(self, name: CID, future: Future[Block]) -> None:
        if self._over:
            future.set_exception(InterruptedError())
            return
        task = self._loop.create_task(self._fetcher.nodes([name]))
        self._tasks[task] = future
        task.add_done_callback(partial(self._end, name))

    def _end(self, name: CID, task: asyncio.Task[dict[CID, Block]]) -> None:
        future = self._tasks.pop(task)
        if task.cancelled():
            future.set_exception(InterruptedError())
        elif (problem := task.exception()) is not None:
            future.set_exception(problem)
        else:
            future.set_result(task.result()[name])


class _Ahead:
    """Blocks that are not here, in the order in which they are read."""

    def __init__(self, blocks: FetchedBlocks, names: list[CID]) -> None:
        self._blocks = blocks
        self._names = names
        self._futures: dict[int, Future[Block]] = {}
        self._last: tuple[int, bytes] = (-1, b"")

    def take(self, place: int) -> bytes:
        """Gives one, and fetches the next ones meanwhile. The last that was given is kept."""
        if self._last[0] != place:
            self._last = (-1, b"")
            for other in range(place, min(place + _AHEAD, len(self._names))):
                if other not in self._futures:
                    self._futures[other] = self._blocks.ask(self._names[other])
            self._last = (place, self._blocks.wait(self._futures.pop(place)).data)
        return self._last[1]


class HeldAhead(Held):
    """A block that is not here yet."""

    def __init__(self, ahead: _Ahead, place: int) -> None:
        self._ahead = ahead
        self._place = place

    @property
    def size(self) -> int:  # type: ignore[override]  # nobody sets it; it is known when the block is here
        """Its bytes; waits for it."""
        return len(self._ahead.take(self._place))

    def read_into(self, view: memoryview) -> None:
        """Waits for it, and copies it."""
        view[:] = self._ahead.take(self._place)
