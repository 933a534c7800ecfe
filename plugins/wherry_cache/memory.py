"""MemoryCache: blocks in dictionaries, which remember the order of use."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from wherry.abc.cache import Cache, CacheUsage
from wherry_cache.order import victims_from_often

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from wherry.abc.cache import Kept
    from wherry.cid import CID
    from wherry_cache.order import Eviction


class _Held(NamedTuple):
    kept: Kept
    at: float  # when it was last used


class MemoryCache(Cache):
    """Keeps blocks in the memory of this process. Thread-safe; one lock, held for look-ups only."""

    def __init__(
        self,
        max_bytes: int,
        *,
        ttl: float = 0.0,
        eviction: Eviction = "lru",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``ttl``: seconds by ``clock`` after which a block that was not used is gone; 0: never."""
        self._max_bytes = max_bytes
        self._ttl, self._clock = ttl, clock
        self._rising = eviction == "2q"
        self._once: OrderedDict[CID, _Held] = OrderedDict()  # the least recently used first; as lru all are here
        self._often: OrderedDict[CID, _Held] = OrderedDict()  # as 2q, those used again
        self._once_bytes = self._often_bytes = 0
        self._hits = self._misses = self._evictions = 0
        self._lock = threading.Lock()

    def get_many(self, cids: Sequence[CID]) -> list[Kept | None]:
        """Gives each block as it was put, or None; a hit becomes the most recently used."""
        with self._lock:
            self._expire()
            found = [self._use(cid) for cid in cids]
            misses = found.count(None)
            self._misses += misses
            self._hits += len(found) - misses
            return found

    def _use(self, cid: CID) -> Kept | None:
        held = self._pop(cid)
        if held is None:
            return None
        self._push(held.kept, often=self._rising)
        return held.kept

    def _pop(self, cid: CID) -> _Held | None:
        held = self._once.pop(cid, None)
        if held is not None:
            self._once_bytes -= len(held.kept.data)
            return held
        held = self._often.pop(cid, None)
        if held is not None:
            self._often_bytes -= len(held.kept.data)
        return held

    def _push(self, kept: Kept, *, often: bool) -> None:
        held = _Held(kept, self._clock() if self._ttl else 0.0)
        if often:
            self._often[kept.cid] = held
            self._often_bytes += len(kept.data)
        else:
            self._once[kept.cid] = held
            self._once_bytes += len(kept.data)

    def _expire(self) -> None:
        """Forgets what was not used for too long; each queue is in order of that."""
        if not self._ttl:
            return
        limit = self._clock() - self._ttl
        for queue in (self._once, self._often):
            while queue and next(iter(queue.values())).at < limit:
                self._pop(next(iter(queue)))

    def put_many(self, blocks: Sequence[Kept]) -> None:
        """Keeps blocks, copying what is not ``bytes``; forgets others until the quota holds."""
        with self._lock:
            self._expire()
            for kept in blocks:
                if len(kept.data) > self._max_bytes:
                    continue
                again = self._pop(kept.cid) is not None
                self._push(kept._replace(data=bytes(kept.data)), often=again and self._rising)  # bytes itself is not copied
                while self._once_bytes + self._often_bytes > self._max_bytes:
                    often = victims_from_often(self._once_bytes, self._often_bytes, self._max_bytes)
                    self._pop(next(iter(self._often if often else self._once)))
                    self._evictions += 1

    def sizes(self, cids: Sequence[CID]) -> list[int | None]:
        """Gives the sizes of what is held."""
        with self._lock:
            self._expire()
            found = [self._once.get(cid) or self._often.get(cid) for cid in cids]
        return [None if held is None else held.kept.size for held in found]

    def delete_many(self, cids: Sequence[CID]) -> None:
        """Forgets blocks."""
        with self._lock:
            for cid in cids:
                self._pop(cid)

    def cids(self) -> Iterator[CID]:
        """Lists what is held, as of now."""
        with self._lock:
            self._expire()
            return iter([*self._once, *self._often])

    def usage(self) -> CacheUsage:
        """Tells sizes and counts."""
        with self._lock:
            self._expire()
            blocks, size = len(self._once) + len(self._often), self._once_bytes + self._often_bytes
            return CacheUsage(blocks, size, self._max_bytes, self._hits, self._misses, self._evictions)

    def close(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._once.clear()
            self._often.clear()
            self._once_bytes = self._often_bytes = 0
