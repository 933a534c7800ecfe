"""The contract of a cache: where verified blocks that have no file of their own are kept for a while (specs/0006 §4).

Written for implementers. Core hashes what a cache returns before it uses it, so a cache need not; it may forget anything
at any time. Every method is synchronous and may be called from several threads at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wherry.block import Block
    from wherry.cid import CID


class CacheUsage(NamedTuple):
    """What a cache holds and how it did since it was opened."""

    blocks: int
    bytes: int  # of block data
    bytes_max: int
    hits: int
    misses: int
    evictions: int


class Cache(ABC):
    """Keeps blocks within a quota of bytes, forgetting the least recently used first."""

    @abstractmethod
    def get_many(self, cids: Sequence[CID]) -> list[bytes | None]:
        """Gives each block's bytes, or None. A hit makes the block recently used. Raises StoreError on a damaged store."""

    @abstractmethod
    def put_many(self, blocks: Sequence[Block]) -> None:
        """Keeps blocks. A get after a put is not promised to hit. Must not keep ``data`` objects that are not bytes.

        The quota holds when it returns, and a block larger than the quota is not kept. Raises NoSpace or Unwritable.
        """

    @abstractmethod
    def sizes(self, cids: Sequence[CID]) -> list[int | None]:
        """Gives the bytes of each block that is held, and None for the others, without making them recently used."""

    def has_many(self, cids: Sequence[CID]) -> list[bool]:
        """Tells which blocks are held, without making them recently used."""
        return [size is not None for size in self.sizes(cids)]

    @abstractmethod
    def delete_many(self, cids: Sequence[CID]) -> None:
        """Forgets blocks; unknown ones are no error."""

    @abstractmethod
    def cids(self) -> Iterator[CID]:
        """Lists what is held, in no order; what comes or goes meanwhile may or may not be seen."""

    @abstractmethod
    def usage(self) -> CacheUsage:
        """Tells sizes and counts."""

    @abstractmethod
    def close(self) -> None:
        """Releases files and memory. Idempotent; no other method may be called after it."""
