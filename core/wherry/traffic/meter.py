"""How fast something moved lately. Pure: times are the caller's."""

from __future__ import annotations

import math
from typing import Final

_MEMORY_S: Final = 2.0  # what moved so long ago counts a third
_FOLD_S: Final = 0.1  # bytes are gathered so long before they are weighed: an exponential for each piece is dear


class Meter:
    """Counts bytes, and tells their rate."""

    __slots__ = ("_at", "_fresh", "_rate", "total")

    def __init__(self, now: float) -> None:
        self.total = 0
        self._fresh = 0
        self._rate = 0.0
        self._at = now

    def add(self, count: int, now: float) -> None:
        """Counts bytes that moved; fewer than none were counted before, and did not move."""
        self.total += count
        self._fresh += count
        if now - self._at >= _FOLD_S:
            self._fold(now)

    def _fold(self, now: float) -> None:
        seconds = now - self._at
        if seconds <= 0:
            return
        old = math.exp(-seconds / _MEMORY_S)
        self._rate = self._rate * old + (self._fresh / seconds) * (1 - old)
        self._fresh, self._at = 0, now

    def rate(self, now: float) -> float:
        """Gives bytes a second over the last two seconds or so."""
        if now - self._at >= _FOLD_S:
            self._fold(now)
        return max(0.0, self._rate)
