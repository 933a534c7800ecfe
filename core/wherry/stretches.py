"""A set of bytes as sorted stretches: what of a dataset is done, or what a peer has of it (specs/0010 §3, specs/0025 §2)."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Stretches:
    """A set of bytes as sorted stretches that do not touch. Not for several threads."""

    __slots__ = ("_ends", "_starts", "_total")

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        """Puts ``pairs`` (start, end) in, in any order."""
        self._starts = array("q")  # 16 bytes a stretch, with its end: of two lists it were 80, and strangers send maps
        self._ends = array("q")
        self._total = 0
        for start, end in pairs:
            self.add(start, end)

    @property
    def total(self) -> int:
        """Bytes in the set."""
        return self._total

    def add(self, start: int, end: int) -> None:
        """Puts ``start`` ... ``end`` in."""
        if start >= end:
            return
        starts, ends = self._starts, self._ends
        first = bisect_right(ends, start - 1)
        last = bisect_right(starts, end, first)
        if first == last:
            starts.insert(first, start)
            ends.insert(first, end)
            self._total += end - start
            return
        start, end = min(start, starts[first]), max(end, ends[last - 1])
        self._total += end - start - sum(ends[first:last]) + sum(starts[first:last])
        starts[first], ends[first] = start, end
        del starts[first + 1 : last], ends[first + 1 : last]

    def covers(self, start: int, end: int) -> bool:
        """Tells whether all of ``start`` ... ``end`` is in; nothing always is."""
        if start >= end:
            return True
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and self._ends[at] >= end

    def touches(self, start: int, end: int) -> bool:
        """Tells whether any byte of ``start`` ... ``end`` is in."""
        at = bisect_right(self._ends, start)
        return at < len(self._starts) and self._starts[at] < end

    def copy(self) -> Stretches:
        """Gives another set of the same."""
        other = Stretches()
        other._starts, other._ends, other._total = self._starts[:], self._ends[:], self._total
        return other

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Gives the stretches (start, end), in order."""
        return iter(zip(self._starts, self._ends, strict=True))

    def __len__(self) -> int:
        """How many stretches there are, not bytes."""
        return len(self._starts)

    def __contains__(self, at: int) -> bool:
        return self.covers(at, at + 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stretches) and self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Stretches({list(self)})"
