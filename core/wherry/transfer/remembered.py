"""What `add` finds recorded of a tree that was read before: files that have not changed since are not read again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, TypeAlias

from wherry.block import EMPTY_LEAF
from wherry.cid import RAW
from wherry.manifest import FILE
from wherry.store.index import Signature
from wherry.synth import is_synth
from wherry.transfer.scan import Found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.store.index import FileRow
    from wherry.store.store import Store
    from wherry.transfer.scan import Seen

LOOK_UP_FILES: Final = 256  # names looked up in one query

Known: TypeAlias = tuple[Found, "FileRow", bool, None]  # a file that was read before and is unchanged; is it executable?


class Remembered:
    """What is recorded of files below one root, as cut in one way. For one thread."""

    __slots__ = ("_cut", "_look_up", "_store")

    def __init__(self, store: Store, cut: str, root: str) -> None:
        self._store = store
        self._cut = cut
        self._look_up = store.index.knows_below(root)

    def beside(self, some: Sequence[Seen]) -> list[Seen | Known]:
        """Puts what is recorded beside each file that has not changed since, in the same order. Raises StoreError."""
        files = [item for item in some if isinstance(item, Found) and item.kind == FILE] if self._look_up else []
        if not files:
            return list(some)
        rows = self._store.index.files([item.path for item in files], self._cut)
        alone = [row.cid.digest for row in rows.values() if row.cid and row.cid.codec == RAW]
        leaves = self._store.index.leaves(alone, sealed=" " in self._cut)
        known: dict[int, Known] = {}
        for item in files:
            row = rows.get(item.path)
            found = self._unchanged(item, row, leaves) if row is not None else None
            if found is not None:
                known[id(item)] = found
        return [known.get(id(item), item) for item in some]

    def _unchanged(self, found: Found, row: FileRow, leaves: dict[bytes, tuple[int, bytes]]) -> Known | None:
        """Gives the file as it is known, if it is unchanged and what it consists of is known as well.

        A bit flipped in the index gives the CID of nothing that was ever read: the root must not be made of it.
        """
        cid = row.cid
        if cid is None:
            return None
        if cid.codec != RAW:
            if cid not in self._store.nodes.sizes([cid]):
                return None
        elif row.signature.size:
            if leaves.get(cid.digest) != (row.signature.size, row.key):
                return None
        elif cid != EMPTY_LEAF:
            return None
        if is_synth(row.path):
            return found, row, False, None
        try:
            stat = os.lstat(row.path)
        except OSError:
            return None
        return (found, row, stat.st_mode & 0o100 != 0, None) if Signature.of(stat) == row.signature else None
