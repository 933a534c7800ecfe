"""Whether to code what goes over a link, and how hard: from measured rates alone (specs/0015 §3).

Plain bytes a second are what counts. A link of rate L carries L plain bytes a second, or L / ratio coded ones if the coder
keeps up: min(L / ratio, speed). On a fast link the coder is the narrow place, so nothing is coded; on a slow one a denser
level pays as long as the link stays the narrow place. Pure: no clock, no chance, no thread. The caller measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

CodingMode = Literal["auto", "always", "never"]  # the option of transports that code on their hop

_NEWEST: Final = 0.3  # weight of the newest measurement in a running mean
_GAIN_MIN: Final = 1.1  # the lowest level must promise so much more than none: measurements are not exact
_STEP_MIN: Final = 1.04  # and each higher one so much more than the lower ones: it costs more of the processor
_FIRST_SPEED: Final = 150e6  # bytes a second of the fastest level, before it was measured: a careful guess
_FIRST_RATIO: Final = 0.6
_NEXT_RATIO: Final = 0.9  # hopeful, so that a level is tried where the link would gain
_NEXT_SPEED: Final = 0.5  # of the level below: as hopeful
_PROBE_EVERY: Final = 16  # while nothing shrinks, so many answers go plain for one that is tried: data may change


@dataclass(slots=True)
class _Level:
    speed: float  # plain bytes a second
    ratio: float  # coded bytes a plain byte


class LevelChooser:
    """Chooses between no coding and the levels of one compressor. For one thread at a time."""

    def __init__(self, levels: Sequence[int]) -> None:
        """``levels``: from the fastest to the densest; without any, nothing is coded."""
        self._levels = tuple(levels)
        self._known: dict[int, _Level] = {}  # by index; measured ones, without a gap from 0 on
        self._share = 1.0  # of a processor that the coder got while it ran
        self._held_back = 0

    def measured(self, level: int, plain: int, coded: int, seconds: float, cpu_seconds: float) -> None:
        """Notes that ``plain`` bytes became ``coded`` at ``level``, in so much time, and so much of a processor's time.

        What was tried and went plain counts with its plain size in both.
        """
        if plain <= 0 or seconds <= 0:
            return
        index = self._levels.index(level)
        speed, ratio = plain / seconds, coded / plain
        self._share += _NEWEST * (min(1.0, max(0.0, cpu_seconds / seconds)) - self._share)
        known = self._known.get(index)
        if known is None:
            self._known[index] = _Level(speed, ratio)
            return
        known.speed += _NEWEST * (speed - known.speed)
        known.ratio += _NEWEST * (ratio - known.ratio)

    def choose(self, link: float | None) -> int | None:
        """Gives the level for an answer over a link of so many bytes a second; None: none. An unknown link gets none."""
        if link is None or link <= 0 or not self._levels:
            return None
        best, found = link, None
        for index, level in enumerate(self._levels):
            known = self._known.get(index)
            reach = self._reach(known or self._guess(index), link)
            if reach > (_GAIN_MIN if found is None else _STEP_MIN) * best:
                best, found = reach, level
            if known is None:  # what lies above a level that was never tried is not known either
                break
        if found is not None:
            self._held_back = 0
            return found
        return self._probe(link)

    def _reach(self, level: _Level, link: float) -> float:
        """Plain bytes a second. A coder that had to share its processor counts for less: others need it as well."""
        return min(link / max(level.ratio, 0.001), level.speed * self._share)

    def _guess(self, index: int) -> _Level:
        if index == 0:
            return _Level(_FIRST_SPEED, _FIRST_RATIO)
        below = self._known[index - 1]
        return _Level(below.speed * _NEXT_SPEED, below.ratio * _NEXT_RATIO if below.ratio < 1 else below.ratio)

    def _probe(self, link: float) -> int | None:
        """Tries the fastest level now and then, where it would pay if the data were other than the last ones."""
        fastest = self._known.get(0)
        speed = fastest.speed if fastest is not None else _FIRST_SPEED
        if self._reach(_Level(speed, _FIRST_RATIO), link) <= _GAIN_MIN * link:
            return None
        self._held_back += 1
        if self._held_back < _PROBE_EVERY:
            return None
        self._held_back = 0
        return self._levels[0]
