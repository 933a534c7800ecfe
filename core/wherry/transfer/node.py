"""The swarm of a process: one for a session, running while anything is fetched or served (specs/0025).

`wherry.swarm` decides and has no clock; here are its clock, what it serves from, and what it is told of this home.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

from wherry.abc.transport import BlockSource, Held
from wherry.cid import DAG_PB, RAW
from wherry.dag.walk import root_of
from wherry.errors import CIDError, StoreError, WherryError
from wherry.flow import FREE
from wherry.store.held import InFiles, there
from wherry.store.lostfiles import LostFiles
from wherry.stretches import Stretches
from wherry.swarm.swarm import Swarm
from wherry.unixfs.node import root_of as unixfs_root_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.abc.exchange import PeerInfo
    from wherry.block import Block
    from wherry.cid import CID
    from wherry.flow import Flow
    from wherry.store.store import Store
    from wherry.swarm.options import SwarmOptions
    from wherry.transfer.part import PartSource
    from wherry.transfer.serve import Serving

_TICK_S: Final = 0.1
_JUDGE_TICKS: Final = 10  # a peer that is banned while it is connected is left within a second or so


class Holdings(BlockSource):
    """What a node gives: what running gets have written, and what its store holds. Safe for threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parts: tuple[PartSource, ...] = ()
        self._lost = LostFiles()

    def find(self, cids: Sequence[CID]) -> list[Held | None]:
        """See `BlockSource.find`."""
        found: list[Held | None] = [None] * len(cids)
        for source in (*self._parts, self._store):
            left = [number for number, held in enumerate(found) if held is None]
            if not left:
                break
            for number, held in zip(left, source.find([cids[number] for number in left]), strict=True):
                found[number] = held
                if isinstance(held, InFiles):
                    held.lost = self._lost
        return found

    def small_blocks(self, cids: Sequence[CID]) -> dict[CID, Block]:
        """Reads nodes, or small blocks, of the store; verified. Raises IntegrityError, StoreError."""
        return self._store.blocks(cids)

    def record(self, name: bytes) -> bytes | None:
        """Gives the best record of a name (the multihash of its key). Raises StoreError.

        None: there is none, it is over, or another was seen under its number, so that nobody knows which one holds.
        """
        from wherry.ipns.name import Name
        from wherry.store.names import NameBook

        try:
            book, found = NameBook(self._store.state), Name(name)
        except CIDError:
            return None
        known = book.known(found)
        if known is None or known.record.expired(time.time()) or book.equivocated(found, known.record.sequence):
            return None
        return known.record.binary

    @property
    def fetched(self) -> tuple[CID, ...]:
        """The datasets that are being fetched, and given on as far as they are here."""
        return tuple(part.root for part in self._parts)

    @contextmanager
    def sharing(self, part: PartSource) -> Iterator[None]:
        """Gives from ``part`` too, while the context lasts."""
        self._parts = (*self._parts, part)
        try:
            yield
        finally:
            self._parts = tuple(one for one in self._parts if one is not part)


class Node:
    """The swarm with its clock. For one loop."""

    def __init__(
        self,
        store: Store,
        judge: Callable[[PeerInfo], str] = lambda _info: "",
        options: SwarmOptions | None = None,
        *,
        parted: Callable[[PeerInfo, int], None] = lambda _info, _given: None,
        flow: Flow = FREE,
    ) -> None:
        """``judge`` says why a peer is not wanted, "" if it is; ``parted`` is told of each that leaves. See `Swarm`."""
        self._store = store
        self._listen: list[str] = []
        self._users = 0
        self._ticking: asyncio.Task[None] | None = None
        self.holdings = Holdings(store)
        rng = random.Random()  # noqa: S311  # who is served first is no secret
        self.swarm = Swarm(
            self.holdings, lambda: self._listen, self._held, clock=time.monotonic, rng=rng, judge=judge, options=options,
            parted=parted, flow=flow,
        )  # fmt: skip

    def running(self) -> AbstractAsyncContextManager[Swarm]:
        """Lets the swarm's time pass while the context lasts. Several may overlap."""
        return _Running(self)

    def _begin(self) -> Swarm:
        self._users += 1
        if self._ticking is None:
            self._ticking = asyncio.create_task(self._tick())
        return self.swarm

    async def _end(self) -> None:
        self._users -= 1
        if not self._users and self._ticking is not None:
            ticking, self._ticking = self._ticking, None
            ticking.cancel()
            await asyncio.wait([ticking])

    def listens(self, addresses: Sequence[str], *, on: bool) -> None:
        """Says that peers can dial this node at ``addresses``, or no longer."""
        for address in addresses:
            (self._listen.append if on else self._listen.remove)(address)

    async def _tick(self) -> None:
        for number in itertools.count(1):
            self.swarm.tick()
            if number % _JUDGE_TICKS == 0:
                self.swarm.judge_again()
            await asyncio.sleep(_TICK_S)

    def _held(self, root: CID) -> tuple[int, bool | Stretches] | None:
        """Tells the size of a dataset that this home holds, and that it is complete, or which stretches of it are here; None
        if it does not, or cannot tell.

        Who holds an encrypted one need not be able to open it, so nobody is told what is here of it.
        """
        try:
            every = self._store.state.roots(root)
            rows = [row for row in every if not row.options.get("selection")]
            parts = [row.options["spans"] for row in every if row.options.get("spans")]
            if not rows and not parts:
                return None
            if root.codec == RAW:
                held = self._store.find([root])[0]
                return (held.size, True) if held is not None and there(held) else None
            block = self._store.nodes.get_many([root]).get(root)
            if block is None:
                return None
            if root.codec != DAG_PB:
                return root_of(block).entry.size, True if rows else stretches_of(parts)
            found = unixfs_root_of(block)
            if not rows:  # of these it is known where files lie only if a file is all there is, and then none is left out
                return None
            size = found.entry.size if found.exact else int(rows[0].options.get("bytes", "0"))
            return (size, True) if size else None
        except WherryError:
            return None


class _Running:
    """One who lets the time of a node pass. A generator for it took half a KiB more, in each of a thousand transfers."""

    __slots__ = ("_node",)

    def __init__(self, node: Node) -> None:
        self._node = node

    async def __aenter__(self) -> Swarm:
        return self._node._begin()

    async def __aexit__(self, *_problem: object) -> None:
        await self._node._end()


def stretches_of(texts: Sequence[str]) -> Stretches:
    """Reads where the parts of a dataset lie that were got by selections, as `state.db` keeps it. Raises StoreError."""
    found = Stretches()
    try:
        for text in texts:
            for pair in text.split(","):
                start, end = map(int, pair.split("-"))
                found.add(start, end)
    except (ValueError, OverflowError) as problem:
        raise StoreError("where a selection lies cannot be read") from problem
    return found


@asynccontextmanager
async def reachable(node: Node, serving: Serving) -> AsyncIterator[None]:
    """Tells peers where this node can be dialled, while the context lasts."""
    node.listens(serving.exchanging, on=True)
    try:
        yield
    finally:
        node.listens(serving.exchanging, on=False)
