"""Blocks that were found and not yet read, as transports see them (`abc.transport.Held`)."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from typing import TYPE_CHECKING, Protocol

from wherry.abc.transport import Held, Span
from wherry.block import verify
from wherry.errors import SourceChanged, StoreError, WherryError
from wherry.fileio import open_unchanged, read_exactly
from wherry.synth import Synth, is_synth
from wherry.unixfs.wrap import split

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from wherry.cid import CID
    from wherry.sealing.seal import Sealing
    from wherry.store.cached import Cached
    from wherry.store.index import Place, SealedPlace
    from wherry.store.nodes import NodeDB

    Elsewhere = Callable[[CID], Held | None]


class Lost(Protocol):
    """Who is told of files that are not as they were, while they are given to others."""

    def __call__(self, path: str, problem: WherryError) -> None:
        """Takes that ``path`` could not be given."""

    def doubtful(self, path: str) -> bool:
        """Tells whether ``path`` could lately not be read in places: then what is promised of it is read before."""


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


class _Untold:
    """Whoever reads for himself is told by the error."""

    def __call__(self, path: str, problem: WherryError) -> None:
        pass

    def doubtful(self, path: str) -> bool:
        del path
        return False


class InFiles(Held):
    """A block whose bytes lie in files of the user, and perhaps elsewhere as well: asked when the files fail."""

    lost: Lost = _Untold()  # told of each file that is not as it was, while it is given to others

    def __init__(self, cid: CID, size: int, places: Sequence[Place], elsewhere: Elsewhere) -> None:
        self.size = size
        self._cid = cid
        self._places = places
        self._elsewhere = elsewhere

    def resolved(self) -> Held | None:
        """Gives this block if one of its files is as it was, or else where it lies besides; None: nowhere."""
        for place in self._places:
            if self._stands(place):
                return self
        return self._elsewhere(self._cid)

    def confirm(self) -> bool:
        """Opens the first file that stands, and looks elsewhere if there is none."""
        if self.resolved() is None:
            _open(self._places[0])  # says what is wrong
            raise SourceChanged(f"block {self._cid} has no place left")
        return True

    def read_into(self, view: memoryview) -> None:
        """Reads the block from the first place that still holds it. Raises SourceChanged or LocalError."""
        failure: WherryError | None = None
        for place in self._places:
            try:
                self._read_from(place, view)
            except WherryError as problem:
                self.lost(place.path, problem)
                failure = problem
            else:
                return
        instead = self._elsewhere(self._cid)
        if instead is None or instead.size != self.size:
            raise failure or SourceChanged(f"block {self._cid} has no place left")
        instead.read_into(view)

    def _stands(self, place: Place) -> bool:
        try:
            _open(place)
        except WherryError as problem:
            self.lost(place.path, problem)
            return False
        return True

    @abstractmethod
    def _read_from(self, place: Place, view: memoryview) -> None: ...


class HeldLeaf(InFiles):
    """A leaf inside files of the user; the first place that is unchanged is taken."""

    def __init__(self, cid: CID, places: Sequence[Place], elsewhere: Elsewhere, *, hashed: bool) -> None:
        """``hashed``: hash before giving out, so that no span of the file itself is lent."""
        super().__init__(cid, places[0].size, places, elsewhere)
        self._hashed = hashed

    def _read_from(self, place: Place, view: memoryview) -> None:
        _read(place, view)
        if self._hashed:
            verify(self._cid, view, origin=repr(place.path))

    def follows(self, other: Held) -> bool:
        """Whether this leaf lies directly behind ``other`` in the same file."""
        if not isinstance(other, HeldLeaf):
            return False
        mine, before = self._places[0], other._places[0]
        if self.lost.doubtful(mine.path):
            return False  # each goes alone, so that one that cannot be read takes no other with it
        return mine.path == before.path and mine.offset == before.offset + before.size and mine.signature == before.signature

    def open_span(self) -> Span | None:
        """Opens the first file; a later place is read and copied instead, by `read_into`."""
        place = self._places[0]
        if self._hashed or is_synth(place.path) or self.lost.doubtful(place.path):
            return None
        try:
            return Span(open_unchanged(place.path, place.signature), place.offset)
        except WherryError as problem:
            self.lost(place.path, problem)
            if len(self._places) == 1:
                raise
            return None


class HeldSealed(InFiles):
    """A sealed leaf, made again from the plain bytes in a file of the user; it leaves only if it is the same as it was."""

    def __init__(self, cid: CID, sealed: SealedPlace, sealing: Sealing, elsewhere: Elsewhere) -> None:
        super().__init__(cid, sealing.wire_size(sealed.place.size) or 0, [sealed.place], elsewhere)
        self._key = sealed.key
        self._sealing = sealing

    def _read_from(self, place: Place, view: memoryview) -> None:
        """Reads, seals and hashes."""
        plain = view[: place.size]
        _read(place, plain)
        final = place.offset + place.size == place.signature.size
        sealed = self._sealing.seal_leaf(plain, self._key, place.offset, final=final)
        if hashlib.sha256(sealed).digest() != self._cid.digest:
            raise SourceChanged(f"{place.path!r} no longer holds the block {self._cid}", hint="add it again")
        view[:] = sealed


class HeldWrapped(InFiles):
    """A leaf of UnixFS within a dag-pb block, made again from the bytes in a file of the user (specs/0031 §8)."""

    def __init__(self, cid: CID, wrapped: SealedPlace, elsewhere: Elsewhere) -> None:
        self._before, self._behind = split(wrapped.key)
        size = wrapped.place.size + len(self._before) + len(self._behind)
        super().__init__(cid, size, [wrapped.place], elsewhere)

    def _read_from(self, place: Place, view: memoryview) -> None:
        """Reads, wraps and hashes."""
        start = len(self._before)
        stop = start + place.size
        view[:start], view[stop:] = self._before, self._behind
        _read(place, view[start:stop])
        if hashlib.sha256(view).digest() != self._cid.digest:
            raise SourceChanged(f"{place.path!r} no longer holds the block {self._cid}", hint="get it again")


def there(held: Held | None) -> bool:
    """Tells whether a block can be read, as far as that is known without reading it: not from a file that is gone."""
    return held is not None and not why_lost(held)


def why_lost(held: Held) -> str:
    """Says what became of the file that a block lay in, as far as that is known without reading it; nothing if it stands."""
    try:
        held.confirm()
    except WherryError as problem:
        return problem.message
    return ""


def stays(held: Held | None) -> bool:
    """Tells whether a block is here until the user takes it away: not in the cache alone, nor in a file that is gone."""
    if isinstance(held, InFiles):
        held = held.resolved()
    return held is not None and not isinstance(held, HeldCached)


def _open(place: Place) -> None:
    if not is_synth(place.path):
        os.close(open_unchanged(place.path, place.signature))


def _read(place: Place, view: memoryview) -> None:
    if is_synth(place.path):
        Synth(place.path).read_into(view, place.offset)
        return
    fd = open_unchanged(place.path, place.signature)
    try:
        read_exactly(fd, view, place.offset, place.path)
    finally:
        os.close(fd)
