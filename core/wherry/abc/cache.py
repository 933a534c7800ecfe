"""The contract of a cache: where verified blocks that have no file of their own are kept for a while (specs/0006 §4).

Written for implementers. Core hashes what a cache returns before it uses it, so a cache need not; it may forget anything
at any time. Every method is synchronous and may be called from several threads at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wherry.cid import CID


class CacheUsage(NamedTuple):
    """What a cache holds and how it did since it was opened."""

    blocks: int
    bytes: int  # of data as kept, coded or not
    bytes_max: int
    hits: int
    misses: int
    evictions: int


class Kept(NamedTuple):
    """A block as a cache keeps it. Core codes and decodes; to a cache ``data`` is opaque."""

    cid: CID
    data: bytes  # the block's bytes, or their coded form
    size: int  # bytes of the block itself
    coding: str = ""  # the compressor's name; "": ``data`` is the block


class Cache(ABC):
    """Keeps blocks within a quota of bytes, forgetting the least recently used first (or by another rule that it tells)."""

    @abstractmethod
    def get_many(self, cids: Sequence[CID]) -> list[Kept | None]:
        """Gives each block as it was put, or None. A hit makes it recently used. Raises StoreError on a damaged store."""

    @abstractmethod
    def put_many(self, blocks: Sequence[Kept]) -> None:
        """Keeps blocks; one that is held already may stay as it is. A get after a put is not promised to hit.

        The quota, counted in bytes of ``data``, holds when it returns, and a block larger than it is not kept. Must not keep
        ``data`` objects that are not bytes. Raises NoSpace or Unwritable.
        """

    @abstractmethod
    def sizes(self, cids: Sequence[CID]) -> list[int | None]:
        """Gives ``size`` of each block that is held, and None for the others, without making them recently used."""

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


@runtime_checkable
class SupportsPrefetch(Protocol):
    """A cache that can make itself ready for reads to come. Optional."""

    def prefetch(self, cids: Sequence[CID]) -> None:
        """Takes a hint: these will be read soon, in this order. Returns quickly; raises nothing."""
