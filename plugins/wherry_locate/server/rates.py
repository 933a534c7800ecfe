"""How often one address may ask: a token bucket each, and a bound on how many are remembered (specs/0028 §4). Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

_BUCKETS_MAX: Final = 20_000  # addresses remembered: 4 MB. Forgotten is whose last request is longest ago


class Rates:
    """Lets each key have so many requests a minute, as many at once. For one thread."""

    def __init__(self, per_minute: float, *, buckets_max: int = _BUCKETS_MAX) -> None:
        self._per_s = per_minute / 60
        self._depth = max(1.0, per_minute)
        self._buckets_max = buckets_max
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, and when that was

    def take(self, key: str, now: float) -> float:
        """Takes a request and gives 0.0, or takes none and gives the seconds until one may come."""
        left, then = self._left.pop(key, (self._depth, now))
        left = min(self._depth, left + max(0.0, now - then) * self._per_s)
        wait = 0.0 if left >= 1.0 else (1.0 - left) / self._per_s
        self._left[key] = (left - 1.0 if wait == 0.0 else left, now)
        if len(self._left) > self._buckets_max:
            self._left.popitem(last=False)
        return wait

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._left)
