"""The cache. wherry hashes what comes out of it, so it need not; it may forget anything at any time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from wherry.abc.cache import Cache, CacheUsage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wherry.abc.cache import Kept
    from wherry.cid import CID


class LruCache(Cache):
    """Blocks in memory. Several threads use it at once, so one lock is held for each batch."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[CID, Kept] = OrderedDict()  # the least recently used first
        self._bytes = self._hits = self._misses = self._evictions = 0
        self._lock = threading.Lock()

    def get_many(self, cids: Sequence[CID]) -> list[Kept | None]:
        """See `Cache.get_many`."""
        with self._lock:
            found = [self._kept.get(cid) for cid in cids]
            for cid, kept in zip(cids, found, strict=True):
                if kept is not None:
                    self._kept.move_to_end(cid)
            misses = found.count(None)
            self._misses += misses
            self._hits += len(found) - misses
            return found

    def put_many(self, blocks: Sequence[Kept]) -> None:
        """See `Cache.put_many`."""
        with self._lock:
            for block in blocks:
                if len(block.data) > self._max_bytes:
                    continue
                self._forget(block.cid)
                # Data that is no bytes lies in a buffer that wherry uses again: bytes() copies it then, and only then.
                self._kept[block.cid] = block._replace(data=bytes(block.data))
                self._bytes += len(block.data)
                while self._bytes > self._max_bytes:
                    self._forget(next(iter(self._kept)))
                    self._evictions += 1

    def sizes(self, cids: Sequence[CID]) -> list[int | None]:
        """See `Cache.sizes`."""
        with self._lock:
            return [kept.size if (kept := self._kept.get(cid)) is not None else None for cid in cids]

    def delete_many(self, cids: Sequence[CID]) -> None:
        """See `Cache.delete_many`."""
        with self._lock:
            for cid in cids:
                self._forget(cid)

    def cids(self) -> Iterator[CID]:
        """See `Cache.cids`."""
        with self._lock:
            held = list(self._kept)
        return iter(held)

    def usage(self) -> CacheUsage:
        """See `Cache.usage`."""
        with self._lock:
            return CacheUsage(len(self._kept), self._bytes, self._max_bytes, self._hits, self._misses, self._evictions)

    def close(self) -> None:
        """See `Cache.close`."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _forget(self, cid: CID) -> None:
        kept = self._kept.pop(cid, None)
        if kept is not None:
            self._bytes -= len(kept.data)
