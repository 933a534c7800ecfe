"""Drives a walk: nodes come from this node's store, or from sources and then stay in the store.

Those of an encrypted dataset stay sealed there; they are opened for the walk, by the key that it found in their parent.
Of UnixFS, what comes as a node may turn out to be a file, or a piece of one: such a block is not kept as a node, as its bytes
go where the user wants them.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from wherry.block import EMPTY_LEAF, Block, checked
from wherry.cid import DAG_CBOR, DAG_PB, RAW
from wherry.dag.walk import Leaf, Need, Root, Walk, find, root_of
from wherry.errors import BlockNotFound, DecodeError, WherryError
from wherry.limits import BUFFER_BYTES
from wherry.offload import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence

    from wherry.abc.transport import BlockSource
    from wherry.cid import CID
    from wherry.dag.walk import Step
    from wherry.manifest import Entry
    from wherry.sealing.seal import Sealing
    from wherry.store.index import Index
    from wherry.store.store import Store
    from wherry.transfer.fetch import Fetcher
    from wherry.transfer.remake import Remaker
    from wherry.transfer.unlock import Locksmith, Unlocked
    from wherry.unixfs.walk import UnixWalk

AnyWalk: TypeAlias = "Walk | UnixWalk"

_LATELY_BYTES_MAX: Final = 16 << 20  # of leaves that came as nodes, until they are where they belong
_PREDICT_BYTES: Final = BUFFER_BYTES * 7 // 8  # smaller files are written in one piece, so all their leaves come at one time
_UNSURE_BYTES_MAX: Final = 16 << 20  # of blocks at hand of which the walk has not told whether they are leaves
_UNSAVED_BYTES_MAX: Final = 4 << 20
_UNSAVED_S_MAX: Final = 1.0  # of fetched nodes, what a kill may cost

_NONE: Final[frozenset[CID]] = frozenset()  # shared: each empty one takes 216 bytes


class Nodes:
    """Where a verb gets manifest nodes from."""

    __slots__ = (
        "_at_hand", "_at_hand_bytes", "_fetcher", "_lately", "_lately_bytes", "_locksmith", "_roots", "_saved_at", "_store",
        "_unsure", "_unsure_bytes", "leaf", "unlocked",
    )  # fmt: skip

    def __init__(self, store: Store, fetcher: Fetcher | None, locksmith: Locksmith | None = None) -> None:
        """``locksmith`` opens encrypted datasets; without it they are not opened."""
        self._store = store
        self._fetcher = fetcher
        self._locksmith = locksmith
        self.unlocked: Unlocked | None = None  # the encrypted dataset whose root was read last
        self._at_hand: dict[CID, Block] = {}  # fetched and not yet in the store
        self._at_hand_bytes = 0
        self._saved_at = time.monotonic()
        # Of those at hand, which may be leaves; in a dict, since an empty set takes three times an empty one.
        self._unsure: dict[CID, None] = {}
        self._unsure_bytes = 0
        self._roots = _NONE  # kept as nodes whatever they are: one, or two
        self._lately: dict[CID, Block] = {}  # leaves that came as nodes, the newest last
        self._lately_bytes = 0
        self.leaf: Block | None = None  # the root, or what was found at a path, if it is a leaf that is in memory

    @property
    def index(self) -> Index:
        """Where leaves lie in the user's files."""
        return self._store.index

    async def get(self, cid: CID, ahead: Sequence[CID] = ()) -> Block:
        """Gives one node; fetches those ``ahead`` that are absent along with it. Raises what fetching does."""
        block = self._at_hand.get(cid) or self._lately.get(cid) or self._local(cid)
        if block is not None:
            return block
        if cid == EMPTY_LEAF:
            return Block(cid, b"")
        if self._fetcher is None:
            raise BlockNotFound(f"block {cid} is not here", hint="name a source with --from ADDRESS")
        if self._unsure_bytes > _UNSURE_BYTES_MAX:  # so much came ahead, and not this: the walk went another way
            for other in self._unsure:
                self._at_hand.pop(other, None)
            self._unsure.clear()
            self._unsure_bytes = 0
        unknown = [other for other in dict.fromkeys(ahead) if other != cid and other not in self._at_hand]
        held = self._store.nodes.sizes(unknown)
        found = await self._fetcher.nodes([cid, *[other for other in unknown if other not in held]])
        for block in found.values():
            self.know(block)
        if self._at_hand_bytes > _UNSAVED_BYTES_MAX or time.monotonic() - self._saved_at > _UNSAVED_S_MAX:
            await in_thread(self.flush)
        return found[cid]

    def flush(self) -> None:
        """Brings what was fetched into the store; blocks its thread. Each time syncs the disk, so it is done now and then.

        Where the home is read-only it is forgotten: a walk passes each node once.
        """
        kept = {cid: block for cid, block in self._at_hand.items() if cid in self._unsure}
        if self._store.writable:
            self._store.nodes.put_many([block for cid, block in self._at_hand.items() if cid.codec != RAW and cid not in kept])
        self._at_hand = kept
        self._at_hand_bytes = 0
        self._saved_at = time.monotonic()

    def _local(self, cid: CID) -> Block | None:
        if cid.codec != RAW:
            found = self._store.nodes.get_many([cid]).get(cid)
            if found is not None or cid.codec != DAG_PB:
                return found
        return read_here(self._store, cid)

    async def root(self, cid: CID) -> Root:
        """Reads a root; of an encrypted dataset, finds its key first. Raises NoKey."""
        block = await self.get(cid)
        if cid.codec == RAW:
            self.leaf = block
        self.unlocked = None
        if cid.codec == DAG_PB:
            self._roots |= {cid}
            from wherry.unixfs.node import root_of as unixfs_root_of

            self._sort(block, leaf=False)
            return unixfs_root_of(block)
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

    def _is_here(self, cid: CID) -> bool:
        return cid in self._at_hand or cid in self._lately or self._local(cid) is not None

    def at_hand(self, cid: CID) -> Block | None:
        """Gives a node that was fetched and is not yet in the store. Any thread."""
        return self._at_hand.get(cid)

    def know(self, block: Block) -> None:
        """Takes a block that was found elsewhere."""
        if block.cid not in self._at_hand:
            self._at_hand[block.cid] = block
            if block.cid.codec == DAG_PB:
                self._unsure[block.cid] = None
                self._unsure_bytes += len(block.data)
            else:
                self._at_hand_bytes += len(block.data)

    def _carried(self, block: Block) -> None:
        """Takes what was looked for, if its CID carries it."""
        if block.cid.codec == RAW:
            self.leaf = block
        else:
            self.know(block)

    def known(self, cid: CID) -> Block | None:
        """Gives a leaf that came as a node, if that was not long ago."""
        if self.leaf is not None and self.leaf.cid == cid:
            return self.leaf
        return self._lately.get(cid)

    def _sort(self, block: Block, *, leaf: bool) -> None:
        """Says what a block is, now that the walk has read it."""
        if block.cid in self._unsure:
            del self._unsure[block.cid]
            self._unsure_bytes -= len(block.data)
            if not leaf:
                self._at_hand_bytes += len(block.data)
        if not leaf or block.cid in self._roots:
            return
        self._at_hand.pop(block.cid, None)
        if block.cid not in self._lately:
            self._lately[block.cid] = block
            self._lately_bytes += len(block.data)
        while self._lately_bytes > _LATELY_BYTES_MAX:
            self._lately_bytes -= len(self._lately.pop(next(iter(self._lately))).data)

    async def find(self, root: Entry, path: str) -> Entry:
        """Finds the entry at ``path``. Raises NotFound."""
        search = find(root, path) if root.cid.codec != DAG_PB else _unixfs_find(root, path, self._carried)
        came: Block | None = None
        try:
            need = next(search)
            while True:
                block = await self._opened(need)
                self._passed(came)
                came = block
                need = search.send(came)
        except StopIteration as found:
            entry: Entry = found.value
            if came is not None and came.cid != entry.cid:
                self._passed(came)
            return entry

    def _passed(self, block: Block | None) -> None:
        """Takes that a block was on the way to what was looked for: it is a directory, and kept as those of a walk are."""
        if block is not None and block.cid.codec == DAG_PB:
            self._sort(block, leaf=False)

    async def steps(self, walk: AnyWalk, remaker: Remaker | None = None) -> AsyncGenerator[Step, None]:
        """Gives the steps of a walk, supplying what it needs; ``remaker`` is asked for leaves before they are fetched."""
        came: Block | None = None
        while (step := walk.step()) is not None:
            if came is not None:
                if came.cid.codec != DAG_CBOR:
                    self._sort(came, leaf=not isinstance(walk, Walk) and walk.leaf == came.cid)
                came = None
            if isinstance(step, Need):
                if remaker is not None and not self._is_here(step.cid):
                    came = await in_thread(partial(remaker.block, walk, step.cid))
                    if came is None and remaker.gave_up:
                        continue
                came = came or await self._opened(step)
                walk.supply(came)
            else:
                if isinstance(step, Leaf) and step.block is not None:
                    self._sort(step.block, leaf=True)
                yield step


def walk_of(
    root: Entry, *, start: int = 0, stop: int | None = None, hints: bool = True, predict: bool = False, names: bool = False
) -> AnyWalk:
    """Makes the walk of a tree of either kind. See `Walk` and `UnixWalk`. ``names``: nothing but names is wanted."""
    if root.cid.codec != DAG_PB:
        return Walk(root, start=start, stop=stop)
    from wherry.unixfs.walk import UnixWalk

    return UnixWalk(root, start=start, stop=stop, hints=hints, predict=_PREDICT_BYTES if predict else None, names=names)


def _unixfs_find(root: Entry, path: str, inline: Callable[[Block], None]) -> Generator[Need, Block, Entry]:
    from wherry.unixfs.find import find as unixfs_find

    return unixfs_find(root, path, inline)


def read_here(store: BlockSource, cid: CID) -> Block | None:
    """Reads a block that lies in the user's files, or in the cache."""
    held = store.find([cid])[0]
    if held is None:
        return None
    data = bytearray(held.size)
    try:
        held.read_into(memoryview(data))
        return checked(cid, bytes(data), origin="this machine")
    except WherryError:  # changed since: it is fetched instead
        return None


def local_steps(store: Store, walk: AnyWalk, sealing: Sealing | None = None, remaker: Remaker | None = None) -> Iterator[Step]:
    """Gives the steps of a walk whose nodes are all here; synchronous. Raises BlockNotFound if one is not.

    ``remaker`` makes leaves that were read as nodes, where the store does not have them.
    """
    while (step := walk.step()) is not None:
        if isinstance(step, Need):
            block = store.blocks([step.cid]).get(step.cid) or read_here(store, step.cid)
            if block is None and remaker is not None:
                block = remaker.block(walk, step.cid)
            if block is None:
                raise BlockNotFound(f"block {step.cid} is not here", hint="`wherry get` or `wherry add` the dataset again")
            walk.supply(sealing.open_node(block, step.key) if sealing is not None and step.key else block)
        else:
            yield step
