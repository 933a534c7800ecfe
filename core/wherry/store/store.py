"""The store as the verbs see it: one look-up over files, manifest nodes and cache (specs/0005)."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, TypeVar

from wherry.abc.transport import BlockSource, Held
from wherry.block import EMPTY_LEAF, Block
from wherry.cid import DAG_PB, RAW
from wherry.errors import LocalError, StoreError
from wherry.observe import quiet
from wherry.store.held import HeldCached, HeldEmpty, HeldLeaf, HeldNode, HeldSealed, HeldWrapped
from wherry.store.index import Index
from wherry.store.nodes import NodeDB
from wherry.store.state import StateDB

T = TypeVar("T")

ASIDE_S: Final = 60.0  # how long a cache that could not be opened or read is left aside before it is tried again
WRAPPED: Final = "unixfs"  # in the record of how a file was cut, in the place of a scheme: leaves are dag-pb blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wherry.abc.cache import Cache
    from wherry.cid import CID
    from wherry.coding import Codings
    from wherry.observe import Emit
    from wherry.sealing.seal import Scheme, Sealing
    from wherry.store.cached import Cached
    from wherry.store.index import Place
    from wherry.store.newindex import NewIndex

_LOG: Final = logging.getLogger(__name__)


class Store(BlockSource):
    """Everything this node holds. Synchronous; safe for threads; several processes may open one home."""

    def __init__(
        self,
        home: Path,
        open_cache: Callable[[], Cache] | None,
        *,
        codings: Callable[[], Codings] | None = None,
        sealing: Callable[[Scheme], Sealing] | None = None,
        hashed: bool = False,
        writable: bool = True,
        emit: Emit = quiet,
    ) -> None:
        """Opens the databases in ``home``; the cache (None: there is none) is opened when first needed.

        ``codings`` are those of the cache's blocks, made when first needed; None: they are kept plain.
        ``sealing`` makes sealed blocks again from the user's files; without it they are not found there.
        ``hashed``: hash what lies in files before it is given out. ``emit`` takes events for the observers.
        ``writable``: no if nothing can be written in ``home``; then there is no cache, and what is fetched is not kept.
        """
        with ExitStack() as opened:
            self.state = StateDB(home)
            opened.callback(self.state.close)
            self.nodes = NodeDB(home)
            opened.callback(self.nodes.close)
            self.index = Index(home)
            self._home = home
            opened.pop_all()  # from here on, `close` does it
        self.writable = writable
        self._hashed = hashed
        self._emit = emit
        self._sealing = sealing
        self._open_cache = open_cache if writable else None
        self._codings = codings or _plain
        self._cache: Cached | None = None
        self._cache_lock = threading.Lock()
        self._aside_until: float | None = None  # of the clock that only goes on; None: the cache never failed

    @property
    def cache(self) -> Cached | None:
        """The cache for blocks that may be forgotten, for who is about it. Raises what opening it does."""
        with self._cache_lock:
            if self._cache is None and self._open_cache is not None:
                from wherry.store.cached import Cached  # most runs need no cache

                self._cache = Cached(self._open_cache(), self._codings, self._emit)
            return self._cache

    def _ask_cache(self, ask: Callable[[Cached], T], otherwise: T) -> T:
        """Asks the cache, for who can do without: one that cannot be opened or read has nothing, which is said once."""
        if self._aside_until is not None and time.monotonic() < self._aside_until:
            return otherwise
        try:
            cache = self.cache
            return otherwise if cache is None else ask(cache)
        except (LocalError, StoreError) as problem:
            with self._cache_lock:
                first, self._aside_until = self._aside_until is None, time.monotonic() + ASIDE_S
            if first:
                _LOG.warning("the cache is left aside: %s%s", problem.message, f" ({problem.hint})" if problem.hint else "")
            return otherwise

    def offer(self, blocks: Sequence[Block]) -> None:
        """Has the cache keep blocks, if there is one and it can."""
        self._ask_cache(lambda cache: cache.offer(blocks), None)

    def holds_any(self) -> bool:
        """Tells whether there is any leaf that a get could take from here: in files, beside the nodes, or in the cache."""
        if self.index.holds_any() or self.nodes.holds_leaves():
            return True
        return self._ask_cache(lambda cache: cache.usage().blocks > 0, otherwise=False)

    def prefetch(self, cids: Sequence[CID]) -> None:
        """Tells the cache what will be read soon, in this order; a cache that nobody asked yet stays closed."""
        if self._cache is not None:
            self._cache.prefetch(cids)

    def find(self, cids: Sequence[CID]) -> list[Held | None]:
        """Looks up a batch; None for a block that is not held. Raises StoreError, IntegrityError for a damaged node."""
        places = self.index.locate([cid.digest for cid in cids if cid.codec == RAW])
        nodes = self.nodes.sizes([cid for cid in cids if cid.codec != RAW or cid.digest not in places])
        absent = [cid for cid in cids if cid not in nodes and cid.digest not in places]
        sealed = self._sealed([cid for cid in absent if cid.codec in (RAW, DAG_PB)])
        absent = [cid for cid in absent if cid not in sealed]
        cached: dict[CID, Held] = {**sealed, **self._forgettable(absent)}
        return [self._held(cid, places, nodes, cached) for cid in cids]

    def _sealed(self, cids: Sequence[CID]) -> dict[CID, Held]:
        """Finds sealed leaves, and those wrapped in dag-pb, whose plain bytes lie in files of this machine."""
        if not cids:
            return {}
        located = self.index.locate_sealed([cid.digest for cid in cids])
        found: dict[CID, Held] = {}
        for cid in cids:
            sealed = located.get(cid.digest)
            if sealed is not None and sealed.cut.split(" ")[1] == WRAPPED:
                found[cid] = HeldWrapped(cid, sealed, self._cached)
            elif sealed is not None and self._sealing is not None:
                scheme = scheme_of(sealed.cut)
                if not scheme.coding:  # what was coded before it was sealed cannot be made again
                    found[cid] = HeldSealed(cid, sealed, self._sealing(scheme), self._cached)
        return found

    def _held(self, cid: CID, places: dict[bytes, list[Place]], nodes: dict[CID, int], cached: dict[CID, Held]) -> Held | None:
        if cid.codec == RAW and cid.digest in places:
            return HeldLeaf(cid, places[cid.digest], self._elsewhere, hashed=self._hashed)
        if cid in nodes:
            return HeldNode(cid, nodes[cid], self.nodes)
        if cid == EMPTY_LEAF:
            return HeldEmpty()
        return cached.get(cid)

    def _elsewhere(self, cid: CID) -> Held | None:
        """Finds a block that is not in a file of the user's: what the index says hides no other copy, should that be gone."""
        size = self.nodes.sizes([cid]).get(cid)
        if size is not None:
            return HeldNode(cid, size, self.nodes)
        return self._cached(cid)

    def _cached(self, cid: CID) -> Held | None:
        return self._forgettable([cid]).get(cid)

    def _forgettable(self, cids: Sequence[CID]) -> dict[CID, Held]:
        """Finds what the cache has."""

        def look(cache: Cached) -> dict[CID, Held]:
            sizes = zip(cids, cache.sizes(cids), strict=True)
            return {cid: HeldCached(cid, size, cache) for cid, size in sizes if size is not None}

        return self._ask_cache(look, {}) if cids else {}

    def blocks(self, cids: Sequence[CID]) -> dict[CID, Block]:
        """Reads nodes, or small blocks, that are held; verified. Leaves in files are for `find`."""
        found = self.nodes.get_many(cids)
        absent = [cid for cid in cids if cid not in found]
        if absent:
            cached: dict[CID, Block] = self._ask_cache(lambda cache: cache.get(absent), {})
            found.update(cached)
        return found

    def renew_index(self, fresh: NewIndex) -> None:
        """Puts ``fresh`` in force. Raises LocalError, StoreError; which of the two is in force then, it is whole."""
        self.index.close()
        try:
            fresh.put_in_force()
        finally:
            self.index = Index(self._home)

    def close(self) -> None:
        """Closes everything; idempotent."""
        if self._cache is not None:
            self._cache.close()
        for database in (self.index, self.nodes, self.state):
            database.close()


def scheme_of(cut: str) -> Scheme:
    """Gives the scheme that leaves were sealed by, of what a file's record says of how it was cut."""
    from wherry.sealing.seal import Scheme  # most homes hold nothing sealed

    return Scheme.parse(cut.split(" ")[1])


def _plain() -> Codings:
    from wherry.coding import Codings

    return Codings()
