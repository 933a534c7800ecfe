"""What one source has been worth: rate, latency, and the score that policies see (specs/0017 §3). Pure: times come in.

Three counts of jobs (of use, failed, wrong) fade with a half-life, so that what a source did a while ago is forgiven and
what it gave is no licence for ever. Nothing of this outlives the run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from wherry.units import KiB, MiB

HALF_LIFE_S: Final = 60.0
SMALL_BYTES: Final = 64 * KiB  # an answer whose time is latency; that of a larger one is mostly its bytes
_NEW: Final = 0.3  # weight of the newest figure in a moving average
_FULL_BYTES: Final = 1 * MiB  # a job of fewer bytes says less of the rate, in proportion
_DOUBT: Final = 4.0  # good jobs that a source which gave one wrong is taken to have given: one is no proof of ten per cent
_CORRUPT: Final = 10.0  # a tenth of jobs wrong is as bad as all of them
_SLOW_S: Final = 0.5  # latency that halves its part of the score
_RELIABILITY, _GOODPUT, _LATENCY = 6, 3, 1  # weights; whole numbers, so that a newcomer's score is 0.5 to the last bit


@dataclass(slots=True, eq=False)
class Standing:
    """Figures of one source. For one thread."""

    rate: float = 0.0  # bytes a second that one job got lately; 0.0: not known
    latency_s: float = 0.0  # to the first bytes of small answers, lately; 0.0: not known
    rejected: int = 0  # blocks that did not verify, ever
    _at: float = 0.0  # when the counts were right
    _useful: float = 0.0
    _failed: float = 0.0
    _wrong: float = 0.0

    def answered(self, now: float, count: int, seconds: float, first_s: float) -> None:
        """A job gave ``count`` bytes in ``seconds``, the first of them after ``first_s``."""
        self._fade(now)
        self._useful += 1
        if count <= SMALL_BYTES:
            self.latency_s = _moved(self.latency_s, max(first_s, 1e-6), _NEW)
        self.rate = _moved(self.rate, count / max(seconds, 1e-6), _NEW * min(1.0, count / _FULL_BYTES))

    def failed(self, now: float) -> None:
        """A connection or a request failed."""
        self._fade(now)
        self._failed += 1

    def wrong(self, now: float, rejected: int) -> None:
        """A job brought blocks that did not verify, or nothing that was asked for."""
        self._fade(now)
        self._wrong += 1
        self.rejected += rejected

    def score(self, now: float, best_rate: float) -> float:
        """Gives the reputation, 0.0 to 1.0; ``best_rate`` is that of the fastest source that there is."""
        faded = math.exp2((self._at - now) / HALF_LIFE_S)
        useful, failed, wrong = self._useful * faded, self._failed * faded, self._wrong * faded
        reliability = (useful + 1) / (useful + failed + 2)  # Laplace's rule of succession
        goodput = min(1.0, self.rate / best_rate) if self.rate else 0.5
        latency = _SLOW_S / (_SLOW_S + self.latency_s) if self.latency_s else 0.5
        integrity = max(0.0, 1 - _CORRUPT * wrong / (useful + wrong + _DOUBT))
        weighted = _RELIABILITY * reliability + _GOODPUT * goodput + _LATENCY * latency
        return integrity * weighted / (_RELIABILITY + _GOODPUT + _LATENCY)

    def _fade(self, now: float) -> None:
        faded = math.exp2((self._at - now) / HALF_LIFE_S)
        self._useful *= faded
        self._failed *= faded
        self._wrong *= faded
        self._at = now


def _moved(old: float, new: float, weight: float) -> float:
    """Moves an average towards ``new``; the first figure is the average."""
    return new if not old else old + weight * (new - old)
