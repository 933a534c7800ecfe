"""Content-defined cutting (specs/0003 §8): the cuts move with the bytes, so files that differ a little share most leaves.

The algorithm is FastCDC in its form of 2020 (Xia et al., "The Design of Fast Content-Defined Chunking for Data
Deduplication Based Storage Systems", IEEE TPDS 31(9)), as `pyfastcdc` has it. It is written down in specs/0003 §8, with
vectors; a version of the library that cuts elsewhere fails them, and is none for the names that are used here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from wherry.abc.chunker import Chunker
from wherry.chunking import exact_name
from wherry_chunk.options import SIZE_CHOICES

if TYPE_CHECKING:
    from pyfastcdc import FastCDC

NORMALISATION: Final = 2  # the paper's best trade (its §4.4), and frozen: another level would need another name
_SEEDS: Final = (1 << 63) - 1  # the library takes seeds below 2**63, and 0 stands for none
_PERSON: Final = b"wherry/fastcdc/1"


@dataclass(frozen=True)
class FastcdcChunker(Chunker):
    """Cuts near ``size`` bytes, where the content says. Immutable; each call has a library's object of its own."""

    size: int
    seed: int = field(default=0, repr=False)  # of the gear table; not 0: a secret that the cuts depend on

    def __post_init__(self) -> None:
        if self.size not in SIZE_CHOICES:
            raise ValueError(f"size is one of {', '.join(map(exact_name, sorted(SIZE_CHOICES)))}, not {self.size} bytes")

    @property
    def leaf_bytes_max(self) -> int:  # type: ignore[override]  # read only, as the whole object is
        """See `Chunker`."""
        return 4 * self.size

    @property
    def leaf_bytes_min(self) -> int:
        """No leaf is shorter, but for a file's last."""
        return self.size // 4

    @property
    def name(self) -> str:  # type: ignore[override]  # read only, as the whole object is
        """``fastcdc:256KiB``."""
        return f"fastcdc:{exact_name(self.size)}"

    def cut(self, data: memoryview, *, last: bool) -> list[int]:
        """See `Chunker.cut`. The interpreter lock is let go while the library looks for each cut.

        What follows can move the last length only: any other ends where the bytes before it said so, or at the most that a
        leaf may have. The last one is where the data ends, and final if the leaf could not be longer.
        """
        if len(data) <= self.leaf_bytes_min:  # small files are many; they have one leaf, and need no library
            return [len(data)] if last and data else []
        lengths = [chunk.length for chunk in self._library().cut_buf(data)]
        if not last and lengths[-1] < self.leaf_bytes_max:
            lengths.pop()
        return lengths

    def keyed(self, key: bytes) -> FastcdcChunker:
        """See `SupportsKey.keyed`. What it hides, and from whom it does not, is said in specs/0003 §8."""
        digest = hashlib.blake2b(key, digest_size=8, person=_PERSON).digest()
        return FastcdcChunker(self.size, 1 + int.from_bytes(digest, "big") % _SEEDS)

    def _library(self) -> FastCDC:
        from pyfastcdc import FastCDC

        return FastCDC(
            self.size,
            min_size=self.leaf_bytes_min,
            max_size=self.leaf_bytes_max,
            normalized_chunking=NORMALISATION,
            seed=self.seed,
        )
