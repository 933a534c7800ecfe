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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.cache import Cache
    from wherry.cid import CID
    from wherry.store.index import Place
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
    """A block of the cache; read, and hashed, when it is sent."""

    def __init__(self, cid: CID, size: int, cache: Cache) -> None:
        self.size = size
        self._cid = cid
        self._cache = cache

    def read_into(self, view: memoryview) -> None:
        """Reads the block. Raises StoreError if it was forgotten or has rotted since; the cache then forgets it."""
        data = self._cache.get_many([self._cid])[0]
        if data is None or len(data) != self.size or hashlib.sha256(data).digest() != self._cid.digest:
            self._cache.delete_many([self._cid])
            raise StoreError(f"block {self._cid} is no longer in the cache")
        view[:] = data


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


def _read(place: Place, view: memoryview) -> None:
    if is_synth(place.path):
        Synth(place.path).read_into(view, place.offset)
        return
    fd = open_unchanged(place.path, place.signature)
    try:
        read_exactly(fd, view, place.offset, place.path)
    finally:
        os.close(fd)
