"""What of a root a get took: all of it, or what was selected, as far as that is known here (specs/0005 §6).

The patterns of a selection are not kept. Where its files lie in the dataset's stretch of bytes is, of most; of UnixFS, and of
a part of a dataset, only the index tells which files were written.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wherry.errors import BlockNotFound, NotFound, StoreError
from wherry.limits import SELECTION_SPANS_MAX
from wherry.transfer.node import stretches_of
from wherry.transfer.tree import local_steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.dag.walk import Step
    from wherry.errors import WherryError
    from wherry.sealing.seal import Sealing
    from wherry.store.state import RootRow
    from wherry.store.store import Store
    from wherry.stretches import Stretches
    from wherry.transfer.remake import Remaker
    from wherry.transfer.tree import AnyWalk


class Taken:
    """Follows a walk over a root. Blocks its thread for a look at the disk, or into the index in force."""

    def __init__(self, row: RootRow, store: Store) -> None:
        """``store`` has the index in force. Raises nothing: what cannot be read of a selection is not known."""
        self._row = row
        self._store = store
        self._index = store.index
        self.whole = not row.options.get("selection")
        self._spans = _spans_of(row)
        # What had more stretches was coarsened, to half as many as there may be or somewhat more: what it lacks tells nothing.
        self._exact = self._spans is not None and len(self._spans) < SELECTION_SPANS_MAX // 2
        self._at = 0  # in the dataset's stretch of bytes
        self._file: str | None = None  # where the file lies that the walk is in
        self._sure = False  # whether that one was taken
        self.absent = 0  # files that are not there, of which nothing tells whether they were taken

    def steps(self, walk: AnyWalk, opening: Sealing | None, remaker: Remaker | None = None) -> Iterator[Step]:
        """Gives the steps of ``walk``, as `local_steps` does, without what was not taken and has no nodes here.

        Raises BlockNotFound for a node of what was taken.
        """
        while True:
            try:
                yield from local_steps(self._store, walk, opening, remaker)
            except BlockNotFound:
                if not self._pass_over(walk, remaker.unopened if remaker is not None else None):
                    raise
            else:
                return

    def enter(self, place: str, size: int) -> bool | None:
        """Comes to a file of ``size`` bytes, which would lie at ``place``; tells whether it was taken. None: nothing tells."""
        begin, self._at = self._at, self._at + size
        self._file, self._sure = place, self.whole or self._touches(begin, size)
        return self._sure or (False if size and self._exact else None)

    def misses(self, place: str) -> bool:
        """Tells of a file of which nothing tells whether it was taken that it is not there."""
        if _is_there(place):
            return False
        self.absent += not self._exact
        return True

    def leave(self) -> None:
        """Comes to the end of a file, or leaves it out."""
        self._file = None

    def counts(self, place: str) -> bool:
        """Tells whether what is at ``place``, and not as the manifest has it, is a change of what was taken.

        Else it is somebody's own that has a name of the dataset: the index, which knows other files of the root, never knew it.
        """
        return self.whole or self._sure or self._index.knows_below(place) or not self._index.knows_below(self._row.path)

    def _pass_over(self, walk: AnyWalk, unopened: WherryError | None) -> bool:
        """Leaves out what ``walk`` needs a node for that is not here; False if that was taken, so that the node is lost.

        ``unopened`` tells why the file that the node could have been made of was not, if it was tried.
        """
        if self.whole:
            return False
        if self._file is not None:
            place, self._file = self._file, None
            walk.skip()
            return not self.counts(place)
        path, size = walk.pass_over()
        begin, self._at = self._at, self._at + size
        place = f"{self._row.path}/{path}" if path else self._row.path
        if self._touches(begin, size):
            return False
        if size and self._exact:
            return True
        if isinstance(unopened, NotFound) or not _is_there(place):
            self.absent += not self._exact
            return True
        self._sure = False
        return not self.counts(place)

    def _touches(self, begin: int, size: int) -> bool:
        """What is empty touches nothing: in the midst of a stretch it may lie between two files that were taken."""
        return self._spans is not None and size > 0 and self._spans.touches(begin, begin + size)


def _spans_of(row: RootRow) -> Stretches | None:
    text = row.options.get("spans")
    try:
        return None if text is None else stretches_of([text] if text else [])
    except StoreError:
        return None


def _is_there(place: str) -> bool:
    """Tells whether anything is there, or may be: what cannot be looked at is not known to be absent."""
    try:
        os.lstat(place)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True
