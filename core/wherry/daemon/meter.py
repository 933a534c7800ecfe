"""A rate over the last few seconds. Pure: times come in."""

from __future__ import annotations

from typing import Final

WINDOW_S: Final = 10.0  # long enough to be steady, short enough to show a source that was lost
_STEP_S: Final = 0.5  # counts within it are one: 20 samples, however often something is counted


class Meter:
    """Counts bytes and tells how many a second came lately. For one thread."""

    __slots__ = ("_samples", "total")

    def __init__(self, now: float) -> None:
        self.total = 0
        self._samples = [(now, 0)]  # the total at that time, before what came after it

    def add(self, count: int, now: float) -> None:
        """Counts ``count`` more bytes."""
        self._fade(now)
        if now - self._samples[-1][0] >= _STEP_S:
            self._samples.append((now, self.total))
        self.total += count

    def rate(self, now: float) -> float:
        """Bytes a second over the window, or since it began."""
        self._fade(now)
        since, before = self._samples[0]
        return (self.total - before) / max(now - since, _STEP_S)

    def _fade(self, now: float) -> None:
        while len(self._samples) > 1 and now - self._samples[1][0] >= WINDOW_S:
            del self._samples[0]
        if now - self._samples[0][0] >= 2 * WINDOW_S:  # nothing came for long: the old beginning would hide what comes now
            self._samples[0] = (now - WINDOW_S, self.total)
