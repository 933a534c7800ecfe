"""The chunker. Where it cuts depends on nothing but the bytes since the cut before: so every machine cuts alike.

Once published it never cuts elsewhere, for datasets' CIDs depend on it; another rule is another name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from wherry.abc.chunker import Chunker

_LINE_END: Final = re.compile(rb"\n")  # searched for in place, without a copy


@dataclass(frozen=True)
class LineChunker(Chunker):
    """Cuts behind the first end of a line that makes a leaf ``size`` bytes or longer; behind 2 * ``size`` if there is none."""

    size: int

    @property
    def leaf_bytes_max(self) -> int:  # type: ignore[override]  # read only, as the whole object is
        """See `Chunker`."""
        return 2 * self.size

    @property
    def name(self) -> str:  # type: ignore[override]  # read only, as the whole object is
        """``acme.chunker:256KiB``."""
        return f"acme.chunker:{self.size >> 20}MiB" if self.size >= 1 << 20 else f"acme.chunker:{self.size >> 10}KiB"

    def cut(self, data: memoryview, *, last: bool) -> list[int]:
        """See `Chunker.cut`."""
        lengths, at = [], 0
        while at < len(data):
            end = min(at + self.leaf_bytes_max, len(data))
            found = _LINE_END.search(data, at + self.size - 1, end)
            if found is not None:
                end = found.end()
            elif end - at < self.leaf_bytes_max and not last:
                break  # what follows may hold the end of a line
            lengths.append(end - at)
            at = end
        return lengths
