"""Caches that forget in time or take hints, each broken in one way; for the tests of the cache suite."""

from __future__ import annotations

import threading
import time

from wherry_cache.memory import MemoryCache

LEFT = []  # threads, and what ends them


class KeepsForever(MemoryCache):
    def _expire(self):
        pass


class GoesByAge(MemoryCache):
    """Forgets so long after a block was put, used or not."""

    def get_many(self, cids):
        at = {cid: held.at for cid, held in self._once.items()}
        found = super().get_many(cids)
        for cid in self._once:
            self._once[cid] = self._once[cid]._replace(at=at[cid])
        return found


class ListsTheExpired(MemoryCache):
    def cids(self):
        self.listed = getattr(self, "listed", set()) | set(self._once)
        return iter(sorted(self.listed) if self._ttl else super().cids())

    def put_many(self, blocks):
        super().put_many(blocks)
        self.listed = getattr(self, "listed", set()) | set(self._once)


class Hinted(MemoryCache):
    """Takes hints, and does nothing about them."""

    def prefetch(self, cids):
        pass


class LooksUpAtOnce(Hinted):
    """Takes the time of the caller for a hint, and counts it."""

    def prefetch(self, cids):
        self.get_many(cids)


class WorksForTheCaller(Hinted):
    def prefetch(self, cids):
        time.sleep(0.001 * len(cids))


class FetchesUnknown(Hinted):
    """Has what was hinted come back from where it was deleted."""

    def prefetch(self, cids):
        if cids:
            self.hinted = self.get_many(cids)
            self._hits = self._misses = 0

    def delete_many(self, cids):
        super().delete_many(cids)
        self.put_many([kept for kept in getattr(self, "hinted", ()) if kept is not None])


class LeavesAThread(Hinted):
    def __init__(self, max_bytes, **options):
        super().__init__(max_bytes, **options)
        self.over = threading.Event()

    def prefetch(self, cids):
        LEFT.append((thread := threading.Thread(target=self.over.wait), self.over))
        thread.start()
