"""TieredCache: a fast cache over a large one, seen as one.

What is put goes to both. What is found in the lower one alone is lifted into the upper one. The lower one does not learn
what is read above it; what it forgets meanwhile may stay above, and counts as held: so the quota is the sum of both.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from wherry.abc.cache import Cache, CacheUsage
from wherry.errors import WherryError
from wherry.units import MiB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wherry.abc.cache import Kept
    from wherry.cid import CID

HINTS_MAX: Final = 1024  # CIDs that wait to be lifted; of more the oldest are dropped, for their reads are over
_LIFT_BLOCKS_MAX: Final = 64  # at a time
_LIFT_BYTES_MAX: Final = 4 * MiB  # at a time, in memory besides the upper cache; or one block
_LOOK_UP: Final = 256


class TieredCache(Cache):
    """``over`` in front of ``under``; owns both. Thread-safe; a hint starts one thread, which `close` ends."""

    def __init__(self, over: Cache, under: Cache) -> None:
        self._over, self._under = over, under
        self._hits = self._misses = 0
        self._deletes = 0  # how often something was deleted: what was read before is not lifted
        self._lock = threading.Lock()  # of the counts, and of what is lifted while others delete
        self._hints: deque[CID] = deque(maxlen=HINTS_MAX)
        self._hinted = threading.Condition()
        self._lifting: threading.Thread | None = None
        self._closed = False

    def get_many(self, cids: Sequence[CID]) -> list[Kept | None]:
        """Asks above, then below for the rest, and lifts what is found there. Raises what the caches do."""
        found = self._over.get_many(cids)
        absent = [cid for cid, kept in zip(cids, found, strict=True) if kept is None]
        if absent:
            below = self._lift(list(dict.fromkeys(absent)))
            found = [kept or below.get(cid) for cid, kept in zip(cids, found, strict=True)]
        misses = found.count(None)
        with self._lock:
            self._misses += misses
            self._hits += len(found) - misses
        return found

    def _lift(self, cids: Sequence[CID]) -> dict[CID, Kept]:
        """Reads below and puts above; gives what was read."""
        seen = self._deletes
        found = [kept for kept in self._under.get_many(cids) if kept is not None]
        with self._lock:
            if seen == self._deletes:
                self._over.put_many(found)
        return {kept.cid: kept for kept in found}

    def put_many(self, blocks: Sequence[Kept]) -> None:
        """Puts into both. Raises what the lower one does; the upper one has the blocks then."""
        own = [kept._replace(data=bytes(kept.data)) for kept in blocks]  # one copy for both; bytes itself is not copied
        self._over.put_many(own)
        self._under.put_many(own)

    def sizes(self, cids: Sequence[CID]) -> list[int | None]:
        """Gives the sizes of what either holds."""
        found = self._over.sizes(cids)
        absent = [cid for cid, size in zip(cids, found, strict=True) if size is None]
        if absent:
            below = iter(self._under.sizes(absent))
            found = [next(below) if size is None else size for size in found]
        return found

    def delete_many(self, cids: Sequence[CID]) -> None:
        """Forgets blocks in both."""
        self._under.delete_many(cids)
        with self._lock:
            self._deletes += 1
            self._over.delete_many(cids)

    def cids(self) -> Iterator[CID]:
        """Lists what the lower one holds, and then what only the upper one does."""
        yield from self._under.cids()
        yield from self._above_only()

    def _above_only(self) -> list[CID]:
        above = list(self._over.cids())
        only: list[CID] = []
        for start in range(0, len(above), _LOOK_UP):
            some = above[start : start + _LOOK_UP]
            only += [cid for cid, held in zip(some, self._under.has_many(some), strict=True) if not held]
        return only

    def usage(self) -> CacheUsage:
        """Tells sizes, each block counted once, and counts of look-ups here; evictions are the lower one's.

        Takes time in proportion to what the upper one holds. What only that holds is read there, and so counts as used.
        """
        over, under = self._over.usage(), self._under.usage()
        alone = [kept for kept in self._over.get_many(self._above_only()) if kept is not None]
        size = under.bytes + sum(len(kept.data) for kept in alone)
        with self._lock:
            hits, misses = self._hits, self._misses
        quota = over.bytes_max + under.bytes_max
        return CacheUsage(under.blocks + len(alone), size, quota, hits, misses, under.evictions)

    # Ahead of reads

    def prefetch(self, cids: Sequence[CID]) -> None:
        """Has blocks lifted in the background, in this order; of more than can wait, the earliest are let go."""
        with self._hinted:
            if self._closed:
                return
            self._hints.extend(cids)
            if self._lifting is None:
                # A daemon, so that a cache that nobody closes keeps no process from ending.
                self._lifting = threading.Thread(target=self._lift_hinted, name="wherry-cache-lift", daemon=True)
                self._lifting.start()
            self._hinted.notify()

    def _lift_hinted(self) -> None:
        while True:
            with self._hinted:
                while not self._hints and not self._closed:
                    self._hinted.wait()
                if self._closed:
                    return
                cids = list(dict.fromkeys(self._hints.popleft() for _ in range(min(len(self._hints), _LIFT_BLOCKS_MAX))))
            with suppress(WherryError):  # it was a hint; who reads the block meets the error
                self._lift_some(cids)

    def _lift_some(self, cids: Sequence[CID]) -> None:
        absent = [cid for cid, held in zip(cids, self._over.has_many(cids), strict=True) if not held]
        batch: list[CID] = []
        size = 0
        for cid, length in zip(absent, self._under.sizes(absent), strict=True):
            if length is None:
                continue
            if batch and size + length > _LIFT_BYTES_MAX:
                self._lift(batch)
                batch, size = [], 0
            if self._closed:
                return
            batch.append(cid)
            size += length
        if batch:
            self._lift(batch)

    def close(self) -> None:
        """Ends the thread and closes both."""
        with self._hinted:
            self._closed = True
            self._hints.clear()
            self._hinted.notify()
        if self._lifting is not None:
            self._lifting.join()
        try:
            self._over.close()
        finally:
            self._under.close()
