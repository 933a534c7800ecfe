"""Blocks that were found and not yet read, as transports see them (`abc.transport.Held`)."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from wherry.abc.transport import Held, Span
from wherry.block import verify
from wherry.errors import SourceChanged, StoreError, WherryError
from wherry.fileio import open_unchanged, read_exactly
from wherry.synth import Synth, is_synth
from wherry.unixfs.wrap import split

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from wherry.cid import CID
    from wherry.sealing.seal import Sealing
    from wherry.store.cached import Cached
    from wherry.store.index import Place, SealedPlace
    from wherry.store.nodes import NodeDB


class HeldNode(Held):
    """A manifest node; read, and hashed, when it is sent."""

    def __init__(self, cid: CID, size: int, nodes: NodeDB) -> None:
        self.size = size
        self._cid = cid
        self._nodes = nodes

    def read_into(self, view: memoryview) -> None:
        """Reads the node. Raises IntegrityError if the disk has damaged it, StoreError if it is gone."""
        block = self._nodes.get_many([self._cid]).get(self._cid)
        if block is None:
            raise StoreError(f"node {self._cid} is no longer here")
        view[:] = block.data


class HeldEmpty(Held):
    """The empty leaf, which everybody has."""

    size = 0

    def read_into(self, view: memoryview) -> None:
        """Nothing to do."""
        del view


class HeldCached(Held):
    """A block of the cache; read, decoded, and hashed, when it is sent."""

    def __init__(self, cid: CID, size: int, cached: Cached) -> None:
        self.size = size
        self._cid = cid
        self._cached = cached

    def read_into(self, view: memoryview) -> None:
        """Reads the block. Raises StoreError if it was forgotten or has rotted since; the cache then forgets it."""
        self._cached.read_into(self._cid, view)

    def coded(self, accepted: Collection[str]) -> tuple[str, bytes] | None:
        """Gives the block as it lies in the cache, if it is coded by one of ``accepted`` (`SupportsCoded`).

        It was decoded and verified first: what this node serves is right in any form.
        """
        return self._cached.coded(self._cid, self.size, accepted)


class HeldLeaf(Held):
    """A leaf inside files of the user; the first place that is unchanged is taken."""

    def __init__(self, cid: CID, places: Sequence[Place], *, hashed: bool) -> None:
        """``hashed``: hash before giving out, so that no span of the file itself is lent."""
        self.size = places[0].size
        self._cid = cid
        self._places = places
        self._hashed = hashed

    def read_into(self, view: memoryview) -> None:
        """Reads the leaf from the first place that still holds it."""
        failure: WherryError | None = None
        for place in self._places:
            try:
                _read(place, view)
                if self._hashed:
                    verify(self._cid, view, origin=repr(place.path))
            except WherryError as problem:
                failure = problem
            else:
                return
        raise failure or SourceChanged(f"block {self._cid} has no place left")

    def follows(self, other: Held) -> bool:
        """Whether this leaf lies directly behind ``other`` in the same file."""
        if not isinstance(other, HeldLeaf):
            return False
        mine, before = self._places[0], other._places[0]
        return mine.path == before.path and mine.offset == before.offset + before.size and mine.signature == before.signature

    def open_span(self) -> Span | None:
        """Opens the first file; a later place is read and copied instead, by `read_into`."""
        place = self._places[0]
        if self._hashed or is_synth(place.path):
            return None
        try:
            return Span(open_unchanged(place.path, place.signature), place.offset)
        except WherryError:
            if len(self._places) == 1:
                raise
            return None


class HeldSealed(Held):
    """A sealed leaf, made again from the plain bytes in a file of the user; it leaves only if it is the same as it was."""

    def __init__(self, cid: CID, sealed: SealedPlace, sealing: Sealing) -> None:
        self._cid = cid
        self._sealed = sealed
        self._sealing = sealing
        self.size = sealing.wire_size(sealed.place.size) or 0

    def read_into(self, view: memoryview) -> None:
        """Reads, seals and hashes. Raises SourceChanged if the file does not hold it any more, or LocalError."""
        place = self._sealed.place
        plain = view[: place.size]
        _read(place, plain)
        final = place.offset + place.size == place.signature.size
        sealed = self._sealing.seal_leaf(plain, self._sealed.key, place.offset, final=final)
        if hashlib.sha256(sealed).digest() != self._cid.digest:
            raise SourceChanged(f"{place.path!r} no longer holds the block {self._cid}", hint="add it again")
        view[:] = sealed


class HeldWrapped(Held):
    """A leaf of UnixFS within a dag-pb block, made again from the bytes in a file of the user (specs/0031 §8)."""

    def __init__(self, cid: CID, wrapped: SealedPlace) -> None:
        self._cid = cid
        self._place = wrapped.place
        self._before, self._behind = split(wrapped.key)
        self.size = self._place.size + len(self._before) + len(self._behind)

    def read_into(self, view: memoryview) -> None:
        """Reads, wraps and hashes. Raises SourceChanged if the file does not hold it any more, or LocalError."""
        start = len(self._before)
        stop = start + self._place.size
        view[:start], view[stop:] = self._before, self._behind
        _read(self._place, view[start:stop])
        if hashlib.sha256(view).digest() != self._cid.digest:
            raise SourceChanged(f"{self._place.path!r} no longer holds the block {self._cid}", hint="get it again")


def _read(place: Place, view: memoryview) -> None:
    if is_synth(place.path):
        Synth(place.path).read_into(view, place.offset)
        return
    fd = open_unchanged(place.path, place.signature)
    try:
        read_exactly(fd, view, place.offset, place.path)
    finally:
        os.close(fd)
