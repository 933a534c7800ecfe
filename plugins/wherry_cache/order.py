"""Which block goes first when a cache is full: the least recently used, or by a rule that a scan does not sweep away.

``2q`` is the simplified form of 2Q (Johnson and Shasha, "2Q: A Low Overhead High Performance Buffer Management Replacement
Algorithm", VLDB 1994, section 2): a block that was put stands in a first queue, and moves to a second one, kept by recent
use, when it is used again. While the first queue has more than its share it gives the victims; so one long reading, of
which nothing is used twice, pushes out only what was not used twice either.
"""

from __future__ import annotations

from typing import Final, Literal

Eviction = Literal["lru", "2q"]

ONCE_SHARE: Final = 0.25  # of the quota, for blocks used once; the paper finds a quarter good over all its traces


def victims_from_often(once_bytes: int, often_bytes: int, max_bytes: int) -> bool:
    """Tells from which queue of ``2q`` the next victim comes: True from those used often, False from those used once."""
    return bool(often_bytes) and once_bytes <= ONCE_SHARE * max_bytes
