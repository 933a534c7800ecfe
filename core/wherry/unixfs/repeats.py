"""Tells a tree of which nearly all is repetition: few blocks can unfold into directories without end (specs/0031 §4). Pure.

Directories may occur many times, as in an archive of versions. So what is refused is out of proportion to what was sent: more
entries of directories that occurred before than so many times those of all others.
"""

from __future__ import annotations

from typing import Final

from wherry.limits import UNIXFS_REPEATED_FREE, UNIXFS_REPEATED_TIMES

_FEW_MAX: Final = 4096  # directories that are remembered one by one: 0.5 MB
_PLACES_BITS: Final = 24  # beyond, as bits of a filter (Bloom, "Space/Time Trade-offs in Hash Coding", 1970): 2 MiB
_MARKS: Final = 3  # of each. Four million take one in seven others for one of them, which here counts for little


class Repeats:
    """Counts the entries of one walk's directories. Not for several threads."""

    __slots__ = ("_few", "_many", "distinct", "repeated")

    def __init__(self) -> None:
        self._few: set[int] = set()
        self._many: bytearray | None = None
        self.distinct = 0  # entries of directories that came for the first time
        self.repeated = 0  # and of others

    @property
    def most(self) -> int:
        """So many repeated entries are taken, so far."""
        return max(UNIXFS_REPEATED_FREE, UNIXFS_REPEATED_TIMES * self.distinct)

    def came(self, digest: bytes, entries: int) -> bool:
        """Takes a directory, or a shard of one, by the digest of its block. False: the tree is refused."""
        if self._is_new(int.from_bytes(digest[: _MARKS * _PLACES_BITS // 8], "big")):
            self.distinct += entries
            return True
        self.repeated += entries
        return self.repeated <= self.most

    def _is_new(self, key: int) -> bool:
        if self._many is not None:
            return _marked(self._many, key)
        if key in self._few:
            return False
        self._few.add(key)
        if len(self._few) > _FEW_MAX:
            self._many = bytearray(1 << _PLACES_BITS - 3)
            for other in self._few:
                _marked(self._many, other)
            self._few.clear()
        return True


def _marked(marks: bytearray, key: int) -> bool:
    """Marks a key; tells whether it had not been."""
    fresh = False
    for _ in range(_MARKS):
        place, bit = (key & (1 << _PLACES_BITS) - 1) >> 3, 1 << (key & 7)
        key >>= _PLACES_BITS
        if not marks[place] & bit:
            marks[place] |= bit
            fresh = True
    return fresh
