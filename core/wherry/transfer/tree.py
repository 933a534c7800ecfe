"""Drives a walk: nodes come from this node's store, or from sources and then stay in the store.

Those of an encrypted dataset stay sealed there; they are opened for the walk, by the key that it found in their parent.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from wherry.block import EMPTY_LEAF, Block, checked
from wherry.cid import RAW
from wherry.dag.walk import Need, Root, Walk, find, root_of
from wherry.errors import BlockNotFound, DecodeError, WherryError
from wherry.offload import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from wherry.cid import CID
    from wherry.dag.walk import Step
    from wherry.manifest import Entry
    from wherry.sealing.seal import Sealing
    from wherry.store.store import Store
    from wherry.transfer.fetch import Fetcher
    from wherry.transfer.unlock import Locksmith, Unlocked


_UNSAVED_BYTES_MAX: Final = 4 << 20
_UNSAVED_S_MAX: Final = 1.0  # of fetched nodes, what a kill may cost


class Nodes:
    """Where a verb gets manifest nodes from."""

    def __init__(self, store: Store, fetcher: Fetcher | None, locksmith: Locksmith | None = None) -> None:
        """``locksmith`` opens encrypted datasets; without it they are not opened."""
        self._store = store
        self._fetcher = fetcher
        self._locksmith = locksmith
        self.unlocked: Unlocked | None = None  # the encrypted dataset whose root was read last
        self._at_hand: dict[CID, Block] = {}  # fetched and not yet in the store
        self._at_hand_bytes = 0
        self._saved_at = time.monotonic()
        self.leaf: Block | None = None  # the root, if it is a leaf

    async def get(self, cid: CID, ahead: Sequence[CID] = ()) -> Block:
        """Gives one node; fetches those ``ahead`` that are absent along with it. Raises what fetching does."""
        block = self._at_hand.get(cid) or self._local(cid)
        if block is not None:
            return block
        if cid == EMPTY_LEAF:
            return Block(cid, b"")
        if self._fetcher is None:
            raise BlockNotFound(f"block {cid} is not here", hint="name a source with --from ADDRESS")
        unknown = [other for other in dict.fromkeys(ahead) if other != cid and other not in self._at_hand]
        held = self._store.nodes.sizes(unknown)
        found = await self._fetcher.nodes([cid, *[other for other in unknown if other not in held]])
        for block in found.values():
            self.know(block)
        if self._at_hand_bytes > _UNSAVED_BYTES_MAX or time.monotonic() - self._saved_at > _UNSAVED_S_MAX:
            await in_thread(self.flush)
        return found[cid]

    def flush(self) -> None:
        """Brings what was fetched into the store; blocks its thread. Each time syncs the disk, so it is done now and then."""
        self._store.nodes.put_many([block for block in self._at_hand.values() if block.cid.codec != RAW])
        self._at_hand.clear()
        self._at_hand_bytes = 0
        self._saved_at = time.monotonic()

    def _local(self, cid: CID) -> Block | None:
        if cid.codec != RAW:
            return self._store.nodes.get_many([cid]).get(cid)
        held = self._store.find([cid])[0]
        if held is None:
            return None
        data = bytearray(held.size)
        try:
            held.read_into(memoryview(data))
            return checked(cid, bytes(data), origin="this machine")
        except WherryError:  # changed since: it is fetched instead
            return None

    async def root(self, cid: CID) -> Root:
        """Reads a root; of an encrypted dataset, finds its key first. Raises NoKey."""
        block = await self.get(cid)
        if cid.codec == RAW:
            self.leaf = block
        self.unlocked = None
        if self._locksmith is None or not self._locksmith.knows(block):
            return root_of(block)
        self.unlocked = unlocked = await in_thread(partial(self._locksmith.unlock, block))
        sealed = await self.get(unlocked.header.root)
        return root_of(unlocked.sealing.open_node(sealed, unlocked.key), sealed=True)

    async def _opened(self, need: Need) -> Block:
        return self._open(await self.get(need.cid, need.ahead), need.key)

    def _open(self, block: Block, key: bytes) -> Block:
        if not key:
            return block
        if self.unlocked is None:
            raise DecodeError(f"block {block.cid} is sealed, and its dataset was not unlocked")
        return self.unlocked.sealing.open_node(block, key)

    def at_hand(self, cid: CID) -> Block | None:
        """Gives a node that was fetched and is not yet in the store. Any thread."""
        return self._at_hand.get(cid)

    def know(self, block: Block) -> None:
        """Takes a block that was found elsewhere."""
        if block.cid not in self._at_hand:
            self._at_hand[block.cid] = block
            self._at_hand_bytes += len(block.data)

    async def find(self, root: Entry, path: str) -> Entry:
        """Finds the entry at ``path``. Raises NotFound."""
        search = find(root, path)
        try:
            need = next(search)
            while True:
                need = search.send(await self._opened(need))
        except StopIteration as found:
            entry: Entry = found.value
            return entry

    async def steps(self, walk: Walk) -> AsyncGenerator[Step, None]:
        """Gives the steps of a walk, supplying what it needs."""
        while (step := walk.step()) is not None:
            if isinstance(step, Need):
                walk.supply(await self._opened(step))
            else:
                yield step


def local_steps(store: Store, walk: Walk, sealing: Sealing | None = None) -> Iterator[Step]:
    """Gives the steps of a walk whose nodes are all here; synchronous. Raises BlockNotFound if one is not."""
    while (step := walk.step()) is not None:
        if isinstance(step, Need):
            block = store.blocks([step.cid]).get(step.cid)
            if block is None:
                raise BlockNotFound(f"block {step.cid} is not here", hint="`wherry get` or `wherry add` the dataset again")
            walk.supply(sealing.open_node(block, step.key) if sealing is not None and step.key else block)
        else:
            yield step
