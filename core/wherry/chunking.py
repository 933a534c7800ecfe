"""Where files are cut into leaves (specs/0003 §8): here at fixed distances; content-defined cutting is a plugin's.

A chunker's name is part of what makes a dataset's CID, so a name never changes its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wherry.abc.chunker import Chunker
from wherry.limits import LEAF_BYTES_MAX
from wherry.units import KiB, MiB

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAF_CHOICES: Final = (1 * MiB, 2 * MiB, 4 * MiB)  # bytes of fixed leaves; the first is the default


@dataclass(frozen=True)
class FixedChunker(Chunker):
    """Cuts every ``leaf_bytes`` bytes; the last leaf of a file is what is left. An empty file has no leaves."""

    leaf_bytes: int

    def __post_init__(self) -> None:
        if not 0 < self.leaf_bytes <= LEAF_BYTES_MAX:
            raise ValueError(f"leaves have 1 to {LEAF_BYTES_MAX} bytes, not {self.leaf_bytes}")

    @property
    def leaf_bytes_max(self) -> int:  # type: ignore[override]  # read only, as the whole object is
        """See `Chunker`."""
        return self.leaf_bytes

    @property
    def name(self) -> str:  # type: ignore[override]  # read only, as the whole object is
        """``fixed:1MiB``."""
        return f"fixed:{exact_name(self.leaf_bytes)}"

    def cut(self, data: memoryview, *, last: bool) -> list[int]:
        """See `Chunker.cut`."""
        whole, rest = divmod(len(data), self.leaf_bytes)
        return [self.leaf_bytes] * whole + ([rest] if rest and last else [])

    def count(self, size: int) -> int:
        """How many leaves a file of ``size`` bytes has."""
        return -(-size // self.leaf_bytes)

    def cuts(self, size: int) -> Iterator[tuple[int, int]]:
        """Gives each leaf of a file of ``size`` bytes, in order: its offset and length."""
        whole = size - size % self.leaf_bytes
        for offset in range(0, whole, self.leaf_bytes):
            yield offset, self.leaf_bytes
        if whole < size:
            yield whole, size - whole


def exact_name(size: int) -> str:
    """Writes a size as chunkers' names have it, without a space: ``256KiB``."""
    for unit, letters in ((MiB, "MiB"), (KiB, "KiB")):
        if size % unit == 0:
            return f"{size // unit}{letters}"
    return str(size)
