"""MemoryCache: blocks in a dictionary, the least recently used forgotten first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from wherry.abc.cache import Cache, CacheUsage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wherry.block import Block
    from wherry.cid import CID


class MemoryCache(Cache):
    """Keeps blocks in the memory of this process. Thread-safe; one lock, held for look-ups only."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._blocks: OrderedDict[CID, bytes] = OrderedDict()  # the least recently used first
        self._bytes = self._hits = self._misses = self._evictions = 0
        self._lock = threading.Lock()

    def get_many(self, cids: Sequence[CID]) -> list[bytes | None]:
        """Gives each block's bytes, or None; a hit becomes the most recently used."""
        with self._lock:
            found = [self._blocks.get(cid) for cid in cids]
            for cid, data in zip(cids, found, strict=True):
                if data is not None:
                    self._blocks.move_to_end(cid)
            misses = found.count(None)
            self._misses += misses
            self._hits += len(found) - misses
            return found

    def put_many(self, blocks: Sequence[Block]) -> None:
        """Keeps blocks, copying what is not ``bytes``; forgets others until the quota holds."""
        with self._lock:
            for cid, data in blocks:
                if len(data) > self._max_bytes:
                    continue
                self._bytes -= len(self._blocks.pop(cid, b""))
                self._blocks[cid] = bytes(data)  # bytes itself is not copied
                self._bytes += len(data)
                while self._bytes > self._max_bytes:
                    self._bytes -= len(self._blocks.popitem(last=False)[1])
                    self._evictions += 1

    def sizes(self, cids: Sequence[CID]) -> list[int | None]:
        """Gives the sizes of what is held."""
        with self._lock:
            found = [self._blocks.get(cid) for cid in cids]
        return [None if data is None else len(data) for data in found]

    def delete_many(self, cids: Sequence[CID]) -> None:
        """Forgets blocks."""
        with self._lock:
            for cid in cids:
                self._bytes -= len(self._blocks.pop(cid, b""))

    def cids(self) -> Iterator[CID]:
        """Lists what is held, as of now."""
        with self._lock:
            return iter(list(self._blocks))

    def usage(self) -> CacheUsage:
        """Tells sizes and counts."""
        with self._lock:
            return CacheUsage(len(self._blocks), self._bytes, self._max_bytes, self._hits, self._misses, self._evictions)

    def close(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._blocks.clear()
            self._bytes = 0
