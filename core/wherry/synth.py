"""``synth://SIZE?seed=N``: a file of deterministic bytes with no disk behind it, to measure the path of the data at any size.

Each MiB is one pseudo-random MiB (SHAKE-256 of the seed) whose first sixteen bytes are the seed and the number of that MiB,
so no two leaves are alike and any stretch can be made on its own, at the speed of memory.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

from wherry.errors import UsageError
from wherry.limits import TREE_BYTES_MAX
from wherry.units import MiB, parse_size

_FORM: Final = re.compile(r"synth://([0-9A-Za-z. ]{1,24})(?:\?seed=([0-9]{1,18}))?", re.ASCII)
_STAMP: Final = 16


@lru_cache(maxsize=4)  # a MiB each; making one takes milliseconds, and each leaf that is served asks
def _pattern(seed: int) -> memoryview:
    return memoryview(hashlib.shake_256(b"wherry synth %d" % seed).digest(MiB))


def is_synth(path: str) -> bool:
    """Tells whether ``path`` is meant as a generated source."""
    return path.startswith("synth://")


class Synth:
    """A generated file. Immutable; safe for threads."""

    def __init__(self, address: str) -> None:
        """Reads ``synth://SIZE?seed=N``. Raises UsageError."""
        match = _FORM.fullmatch(address)
        try:
            self.size = parse_size(match[1]) if match else -1
        except ValueError:
            self.size = -1
        if match is None or not 0 <= self.size <= TREE_BYTES_MAX:
            raise UsageError(
                f"{address!r} is no generated source", hint="write synth://SIZE?seed=N, such as synth://4GiB?seed=1"
            )
        self.seed = int(match[2] or 0)
        self.address = f"synth://{self.size}?seed={self.seed}"
        self._pattern = _pattern(self.seed)

    def read_into(self, view: memoryview, offset: int) -> None:
        """Fills ``view`` with the bytes from ``offset``; both within the size."""
        done = 0
        while done < len(view):
            unit, within = divmod(offset + done, MiB)
            count = min(MiB - within, len(view) - done)
            view[done : done + count] = self._pattern[within : within + count]
            if within < _STAMP:
                stamp = self.seed.to_bytes(8, "big") + unit.to_bytes(8, "big")
                part = stamp[within : within + count]
                view[done : done + len(part)] = part
            done += count
