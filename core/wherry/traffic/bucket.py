"""A token bucket: bytes come in at a rate, and go out as they are sent (specs/0026 §2). Pure: times are the caller's.

It may be overdrawn by one quantum, and is shut until that is paid. So a step takes what it needs from every bucket on its way
or from none, and no bucket ever has to hold tokens back for it.
"""

from __future__ import annotations

import math
from typing import Final

BURST_S: Final = 0.2  # of its rate a full bucket holds: long enough for a busy machine's pauses, and with a quantum under 0.25
QUANTA: Final = 16  # a bucket's depth is so many quanta: a turn lasts 12.5 ms of the narrowest limit at most
QUANTUM_BYTES_MIN: Final = 1024  # less is dearer to grant than to send
QUANTUM_BYTES_MAX: Final = 1 << 20  # more gains nothing, and makes turns coarse
RATE_MIN: Final = 1000.0  # bytes a second: slower is better said by a pause

_NO_QUANTUM: Final = 1 << 62  # where nothing is limited all goes in one turn
_NEARLY: Final = 0.5  # bytes; what rounding takes


class Bucket:
    """The tokens of one level, in one direction. ``rate`` is in bytes a second; None: it is always open."""

    __slots__ = ("__weakref__", "_at", "_tokens", "depth", "quantum", "rate")

    def __init__(self, rate: float | None = None, now: float = 0.0) -> None:
        self.rate: float | None = None
        self.depth = math.inf
        self.quantum = _NO_QUANTUM
        self._tokens = 0.0
        self._at = now
        self.change(rate, now)

    def change(self, rate: float | None, now: float) -> None:
        """Sets another rate. A debt stays, but is of a full bucket at most; what was saved stays as far as it fits."""
        self._refill(now)
        fresh = self.rate is None
        self.rate, self._at = rate, now
        if rate is None:
            self.depth, self.quantum = math.inf, _NO_QUANTUM
            return
        self.depth = max(rate * BURST_S, float(QUANTUM_BYTES_MIN))
        self.quantum = min(max(int(self.depth / QUANTA), QUANTUM_BYTES_MIN), QUANTUM_BYTES_MAX)
        self._tokens = self.depth if fresh else max(-self.depth, min(self._tokens, self.depth))

    def _refill(self, now: float) -> None:
        if self.rate is not None and now > self._at:
            self._tokens = min(self.depth, self._tokens + (now - self._at) * self.rate)
            self._at = now

    def left(self, now: float) -> float:
        """Gives the bytes that may be taken; below zero while a debt is paid."""
        if self.rate is None:
            return math.inf
        self._refill(now)
        return self._tokens

    def is_open(self, now: float) -> bool:
        """Tells whether something may be taken: a quantum then, whatever is left."""
        return self.rate is None or self.left(now) > -_NEARLY

    def opens(self, now: float) -> float:
        """Gives the time when it will be open."""
        if self.rate is None or (left := self.left(now)) > -_NEARLY:
            return now
        return now - left / self.rate

    def take(self, count: int) -> None:
        """Takes bytes; who calls looked at `is_open` at this time."""
        self._tokens -= count

    def give(self, count: int) -> None:
        """Puts back what was not used."""
        self._tokens = min(self.depth, self._tokens + count)
