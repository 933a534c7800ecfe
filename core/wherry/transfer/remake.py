"""Blocks of UnixFS made again from a file that lies where the tree's would (specs/0031 §8).

A leaf in a dag-pb block is in no store once its bytes lie in the user's file. Whoever looks at such a file (`verify`, `repair`)
makes the block of it in the usual form; if that is the wanted block, it is proven, and nothing has to be fetched.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wherry.block import Block
from wherry.cid import DAG_PB
from wherry.errors import WherryError
from wherry.fileio import open_regular, read_exactly
from wherry.limits import PB_BYTES_MAX
from wherry.unixfs.wrap import LEAF_TYPES, is_wrapped, wrap, wrapping

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.cid import CID
    from wherry.store.index import Index
    from wherry.transfer.tree import AnyWalk


class Remaker:
    """Makes leaves again from the tree at ``place``. Any thread, one at a time."""

    def __init__(self, place: str, index: Index, given_up: Callable[[str], None] | None = None) -> None:
        """``index`` knows how leaves that were got here are wrapped, where that is unusual.

        ``given_up`` is told the path of what cannot be made from the file that is there, and is then left out.
        """
        self._place = place
        self._index = index
        self._given_up = given_up
        self.gave_up = False  # the last one that was asked for
        self.unopened: WherryError | None = None  # why the file of the last one could not be opened

    def block(self, walk: AnyWalk, cid: CID) -> Block | None:
        """Gives the block that ``walk`` needs; None where the files do not have it."""
        self.gave_up = False
        self.unopened = None
        lies = getattr(walk, "awaited", None) if cid.codec == DAG_PB else None
        if lies is None:
            return None
        path = f"{self._place}/{lies.path}" if lies.path else self._place
        try:
            fd, found = open_regular(path)
        except WherryError as problem:
            self.unopened = problem
            return None
        try:
            block = self._made(fd, path, lies.offset, found.st_size if lies.size is None else lies.size, cid)
        except WherryError:
            block = None
        finally:
            os.close(fd)
        if block is None and self._given_up is not None:
            self.gave_up = True
            self._given_up(lies.path)
            walk.pass_over()
        return block

    def _made(self, fd: int, path: str, offset: int, size: int, cid: CID) -> Block | None:
        if size > PB_BYTES_MAX:
            return None
        plain = bytearray(size)
        read_exactly(fd, memoryview(plain), offset, path)
        recorded = [place.key for place in self._index.locate_sealed([cid.digest]).values()]
        for form in (*(wrapping(size, kind) for kind in LEAF_TYPES), *recorded):
            if is_wrapped(plain, form, cid):
                return Block(cid, wrap(plain, form))
        return None
