"""The configured cache as core uses it: verified blocks in, coded at rest, and verified blocks out (specs/0005 §7).

A cache is somebody else's code over a disk that may rot, so nothing that comes from it is believed: sizes are bounded before
memory is taken, what is coded is decoded within its size, and every block is hashed. What fails is forgotten, and is a miss:
it can be fetched again. Each block says how it is coded, so those that an earlier configuration coded stay readable.
"""

from __future__ import annotations

import threading
from itertools import islice
from typing import TYPE_CHECKING, Final

from wherry.abc.cache import Kept, SupportsPrefetch
from wherry.block import Block, largest, verify
from wherry.errors import IntegrityError, LimitExceeded, LocalError, StoreError, WherryError
from wherry.observe import CacheUsed, quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from wherry.abc.cache import Cache, CacheUsage
    from wherry.cid import CID
    from wherry.coding import Codings
    from wherry.observe import Emit

_DELETE: Final = 1024  # blocks forgotten at a time by `clear`


class Cached:
    """A cache behind its codings. Synchronous; safe for threads. Owns the cache."""

    def __init__(self, cache: Cache, codings: Callable[[], Codings], emit: Emit = quiet) -> None:
        """``codings`` is asked when first a block is to be coded or decoded: a compressor's library is not imported before.

        ``emit`` is told how many blocks were found.
        """
        self.cache = cache
        self._emit = emit
        self._make_codings = codings
        self._codings: Codings | None = None
        self._lock = threading.Lock()

    def _coder(self) -> Codings:
        with self._lock:
            if self._codings is None:
                self._codings = self._make_codings()
            return self._codings

    # In

    def put(self, blocks: Sequence[Block]) -> None:
        """Keeps blocks, each coded if that makes it smaller. Raises NoSpace, Unwritable, StoreError."""
        if blocks:
            coder = self._coder()
            self.cache.put_many([_coded(coder, block) for block in blocks])

    def offer(self, blocks: Sequence[Block]) -> None:
        """Keeps blocks if it can, for reads that would go on without it: a full or broken disk is not their concern."""
        try:
            self.put(blocks)
        except (LocalError, StoreError):
            return

    # Out

    def sizes(self, cids: Sequence[CID]) -> list[int | None]:
        """Gives the sizes of the blocks that are held; a size that no block has is none. Raises StoreError."""
        found = self.cache.sizes(cids)
        misses = found.count(None)
        self._emit(CacheUsed(hits=len(found) - misses, misses=misses))
        return [size if size is not None and 0 <= size <= largest(cid) else None for cid, size in zip(cids, found, strict=True)]

    def holds(self, cids: Sequence[CID]) -> list[bool]:
        """Tells which blocks are held, for who keeps them there; no observer is told. Raises StoreError."""
        return self.cache.has_many(cids)

    def get(self, cids: Sequence[CID]) -> dict[CID, Block]:
        """Gives blocks, decoded and verified; what is not held, or not right, is left out. Raises StoreError."""
        found: dict[CID, Block] = {}
        wrong: list[CID] = []
        for cid, kept in zip(cids, self.cache.get_many(cids), strict=True):
            if kept is None or cid in found:
                continue
            try:
                found[cid] = Block(cid, self._plain(cid, kept))
            except WherryError:
                wrong.append(cid)
        if wrong:
            self.forget(wrong)
        self._emit(CacheUsed(hits=len(found), misses=len(set(cids)) - len(found)))
        return found

    def read_into(self, cid: CID, view: memoryview) -> None:
        """Fills ``view``, which has the block's size, with the verified block.

        Raises StoreError if it was forgotten meanwhile, or is not right; then it is forgotten.
        """
        kept = self.cache.get_many([cid])[0]
        try:
            if kept is None or kept.size != len(view):
                raise IntegrityError(f"block {cid} is not as large as it was said to be")
            self._fill(cid, kept, view)
        except WherryError as problem:
            self.forget([cid])
            raise StoreError(f"block {cid} is no longer in the cache") from problem

    def coded(self, cid: CID, size: int, accepted: Collection[str]) -> tuple[str, bytes] | None:
        """Gives the name of the coding and the coded bytes of a block that lies here coded by one of ``accepted``.

        None if it does not, or is not right; then it is forgotten. Raises StoreError.
        """
        kept = self.cache.get_many([cid])[0]
        if kept is None or kept.coding not in accepted or kept.size != size or len(kept.data) >= size:
            return None
        try:
            self._plain(cid, kept)
        except WherryError:
            self.forget([cid])
            return None
        return kept.coding, kept.data

    def _plain(self, cid: CID, kept: Kept) -> bytes:
        if not kept.coding:
            if len(kept.data) > largest(cid):
                raise LimitExceeded(f"block {cid} has {len(kept.data)} bytes in the cache, at most {largest(cid)}")
            verify(cid, kept.data, origin="the cache")
            return kept.data
        if not 0 < kept.size <= largest(cid):
            raise LimitExceeded(f"block {cid} is said to have {kept.size} bytes, at most {largest(cid)}")
        data = bytearray(kept.size)
        with memoryview(data) as view:
            self._fill(cid, kept, view)
        return bytes(data)

    def _fill(self, cid: CID, kept: Kept, view: memoryview) -> None:
        if kept.coding:
            self._coder().decode_into(kept.coding, kept.data, view)
        elif len(kept.data) == len(view):
            view[:] = kept.data
        else:
            raise IntegrityError(f"block {cid} has {len(kept.data)} bytes in the cache, not {len(view)}")
        verify(cid, view, origin="the cache")

    # Upkeep

    def forget(self, cids: Sequence[CID]) -> None:
        """Forgets blocks that are not right; a disk that does not let it is met again by the next look-up."""
        try:
            self.cache.delete_many(cids)
        except (LocalError, StoreError):
            return

    def clear(self) -> int:
        """Forgets all that is held; gives how many blocks. Raises NoSpace, Unwritable, StoreError."""
        count = 0
        before: list[CID] = []
        while batch := list(islice(self.cache.cids(), _DELETE)):
            if batch == before:
                raise StoreError("the cache still lists blocks that it was told to forget", hint="see `wherry plugins check`")
            self.cache.delete_many(batch)
            count, before = count + len(batch), batch
        return count

    def prefetch(self, cids: Sequence[CID]) -> None:
        """Says what will be read soon, in this order, to a cache that makes use of it."""
        if isinstance(self.cache, SupportsPrefetch):
            self.cache.prefetch(cids)

    def usage(self) -> CacheUsage:
        """Tells sizes and counts."""
        return self.cache.usage()

    def close(self) -> None:
        """Closes the cache. Idempotent."""
        self.cache.close()


def _coded(coder: Codings, block: Block) -> Kept:
    coded = coder.encode(block.data) if block.data else None
    name, data = coded or ("", block.data)
    return Kept(block.cid, data, len(block.data), name)
