"""Clears from a part what does not belong into it: an earlier run may have filled it for another CID or selection.

What fits is kept, for its blocks may be right where they are; what is of another kind, or not listed, must not be in the
target when that gets its name.
"""

from __future__ import annotations

import stat
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from wherry.dag.walk import EnterDir, EnterFile, LinkStep

if TYPE_CHECKING:
    from wherry.safetree import SafeTree

_KEEP: Final = {EnterDir: stat.S_IFDIR, EnterFile: stat.S_IFREG, LinkStep: stat.S_IFLNK}


class Leftovers:
    """Follows a walk of what is written below ``tree``. Holds eight bytes a name of each open directory."""

    def __init__(self, tree: SafeTree) -> None:
        self._tree = tree
        self._names: list[array[int]] = []

    def enter(self, step: EnterDir | EnterFile | LinkStep) -> None:
        """Makes room for what is written next. Raises LocalError."""
        if step.path:
            self._tree.clear(step.path, _KEEP[type(step)])
            self._names[-1].append(_key(step.path.rpartition("/")[2]))
        if isinstance(step, EnterDir):
            self._names.append(array("Q"))

    def leave_dir(self, path: str) -> None:
        """Removes what lies in the directory and was not entered. Raises LocalError. May be called in any thread."""
        listed = sorted(self._names.pop())
        for name in self._tree.names(path):
            key = _key(name)
            at = bisect_left(listed, key)
            if at == len(listed) or listed[at] != key:
                self._tree.clear(f"{path}/{name}" if path else name)


def _key(name: str) -> int:
    return hash(name) & 0xFFFF_FFFF_FFFF_FFFF
