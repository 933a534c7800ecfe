"""Drives a walk: nodes come from this node's store, or from sources and then stay in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.block import EMPTY_LEAF, Block, checked
from wherry.cid import RAW
from wherry.dag.walk import Need, Root, Walk, find, root_of
from wherry.errors import BlockNotFound, WherryError
from wherry.offload import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from wherry.cid import CID
    from wherry.dag.walk import Step
    from wherry.manifest import Entry
    from wherry.store.store import Store
    from wherry.transfer.fetch import Fetcher


class Nodes:
    """Where a verb gets manifest nodes from."""

    def __init__(self, store: Store, fetcher: Fetcher | None) -> None:
        self._store = store
        self._fetcher = fetcher
        self._at_hand: dict[CID, Block] = {}  # fetched ahead of the walk: at most what fits into one answer
        self.leaf: Block | None = None  # the root, if it is a leaf

    async def get(self, cid: CID, ahead: Sequence[CID] = ()) -> Block:
        """Gives one node; fetches those ``ahead`` that are absent along with it. Raises what fetching does."""
        block = self._at_hand.pop(cid, None) or self._local([cid]).get(cid)
        if block is not None:
            return block
        if cid == EMPTY_LEAF:
            return Block(cid, b"")
        if self._fetcher is None:
            raise BlockNotFound(f"block {cid} is not here", hint="name a source with --from ADDRESS")
        unknown = [other for other in dict.fromkeys(ahead) if other != cid and other not in self._at_hand]
        held = self._store.nodes.sizes(unknown)
        found = await self._fetcher.nodes([cid, *[other for other in unknown if other not in held]])
        nodes = [block for block in found.values() if block.cid.codec != RAW]
        await in_thread(lambda: self._store.nodes.put_many(nodes))
        self._at_hand = found
        return self._at_hand.pop(cid)

    def _local(self, cids: Sequence[CID]) -> dict[CID, Block]:
        found = self._store.blocks(cids)
        for cid in cids:
            if cid not in found and cid.codec == RAW:
                held = self._store.find([cid])[0]
                if held is not None:
                    data = bytearray(held.size)
                    try:
                        held.read_into(memoryview(data))
                        found[cid] = checked(cid, bytes(data), origin="this machine")
                    except WherryError:  # changed since: it is fetched instead
                        continue
        return found

    async def root(self, cid: CID) -> Root:
        """Reads a root."""
        block = await self.get(cid)
        if cid.codec == RAW:
            self.leaf = block
        return root_of(block)

    def know(self, block: Block) -> None:
        """Takes a block that was found elsewhere."""
        self._at_hand[block.cid] = block

    async def find(self, root: Entry, path: str) -> Entry:
        """Finds the entry at ``path``. Raises NotFound."""
        search = find(root, path)
        try:
            cid = next(search)
            while True:
                cid = search.send(await self.get(cid))
        except StopIteration as found:
            entry: Entry = found.value
            return entry

    async def steps(self, walk: Walk) -> AsyncGenerator[Step, None]:
        """Gives the steps of a walk, supplying what it needs."""
        while (step := walk.step()) is not None:
            if isinstance(step, Need):
                walk.supply(await self.get(step.cid, step.ahead))
            else:
                yield step


def local_steps(store: Store, walk: Walk) -> Iterator[Step]:
    """Gives the steps of a walk whose nodes are all here; synchronous. Raises BlockNotFound if one is not."""
    while (step := walk.step()) is not None:
        if isinstance(step, Need):
            block = store.blocks([step.cid]).get(step.cid)
            if block is None:
                raise BlockNotFound(f"block {step.cid} is not here", hint="`wherry get` or `wherry add` the dataset again")
            walk.supply(block)
        else:
            yield step
