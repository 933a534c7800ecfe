"""The store as the verbs see it: one look-up over files, manifest nodes and cache (specs/0005)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from wherry.abc.transport import BlockSource, Held
from wherry.block import Block, checked
from wherry.cid import RAW
from wherry.errors import IntegrityError
from wherry.store.held import HeldBytes, HeldLeaf
from wherry.store.index import Index
from wherry.store.nodes import NodeDB
from wherry.store.state import StateDB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wherry.abc.cache import Cache
    from wherry.cid import CID


class Store(BlockSource):
    """Everything this node holds. Synchronous; safe for threads; several processes may open one home."""

    def __init__(self, home: Path, open_cache: Callable[[], Cache], *, hashed: bool = False) -> None:
        """Opens the databases in ``home``; the cache is opened when first needed. ``hashed``: hash before serving."""
        self.state = StateDB(home)
        self.nodes = NodeDB(home)
        self.index = Index(home)
        self._hashed = hashed
        self._open_cache = open_cache
        self._cache: Cache | None = None
        self._cache_lock = threading.Lock()

    @property
    def cache(self) -> Cache:
        """The cache for blocks that may be forgotten."""
        with self._cache_lock:
            if self._cache is None:
                self._cache = self._open_cache()
            return self._cache

    def find(self, cids: Sequence[CID]) -> list[Held | None]:
        """Looks up a batch; None for a block that is not held. Raises StoreError, IntegrityError for a damaged node."""
        places = self.index.locate([cid.digest for cid in cids if cid.codec == RAW])
        others = [cid for cid in cids if cid.codec != RAW or cid.digest not in places]
        nodes = self.nodes.get_many(others) if others else {}
        absent = [cid for cid in others if cid not in nodes]
        cached = self._cached(absent) if absent else {}
        found: list[Held | None] = []
        for cid in cids:
            if cid.codec == RAW and cid.digest in places:
                found.append(HeldLeaf(cid, places[cid.digest], hashed=self._hashed))
            else:
                block = nodes.get(cid) or cached.get(cid)
                found.append(HeldBytes(block.data) if block else None)
        return found

    def blocks(self, cids: Sequence[CID]) -> dict[CID, Block]:
        """Reads nodes, or small blocks, that are held; verified. Leaves in files are for `find`."""
        found = self.nodes.get_many(cids)
        absent = [cid for cid in cids if cid not in found]
        if absent:
            found.update(self._cached(absent))
        return found

    def _cached(self, cids: Sequence[CID]) -> dict[CID, Block]:
        found = {}
        for cid, data in zip(cids, self.cache.get_many(cids), strict=True):
            if data is None:
                continue
            try:
                found[cid] = checked(cid, data, origin="the cache")
            except IntegrityError:  # a cache may rot; forgetting the block heals it
                self.cache.delete_many([cid])
        return found

    def close(self) -> None:
        """Closes everything; idempotent."""
        if self._cache is not None:
            self._cache.close()
        for database in (self.index, self.nodes, self.state):
            database.close()
