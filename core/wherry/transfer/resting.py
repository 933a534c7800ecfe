"""How long a source is left alone after a failure (specs/0013 §4). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

_FIRST_S: Final = 0.2
_MAX_S: Final = 8.0
_TRIES: Final = 8  # at the least, within the time that a source is waited for
STAND_BACK_S: Final = (4.0, 16.0)  # from a source that is busy, while others are there


def rest_s(failures: int, wait_s: float, rng: random.Random) -> float:
    """Gives the seconds after so many failures in a row, of a source that is waited for for ``wait_s``.

    Exponential back-off with full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015).
    """
    most = max(_FIRST_S, min(_MAX_S, wait_s / _TRIES))
    limit = min(most, _FIRST_S * 2 ** min(failures - 1, 10))
    return rng.uniform(limit / 4, limit)
