"""Where files are cut into leaves (specs/0003 §8): here at fixed distances; content-defined cutting is a plugin's.

A chunker's name is part of what makes a dataset's CID, so a name never changes its meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wherry.errors import UsageError
from wherry.limits import LEAF_BYTES_MAX
from wherry.units import KiB, MiB, parse_size

if TYPE_CHECKING:
    from collections.abc import Iterator

CHOICES: Final = ("fixed:1MiB", "fixed:2MiB", "fixed:4MiB")  # the first is the default


@dataclass(frozen=True, slots=True)
class FixedChunker:
    """Cuts every ``leaf_bytes`` bytes; the last leaf of a file is what is left. An empty file has no leaves."""

    leaf_bytes: int

    def __post_init__(self) -> None:
        if not 0 < self.leaf_bytes <= LEAF_BYTES_MAX:
            raise ValueError(f"leaves have 1 to {LEAF_BYTES_MAX} bytes, not {self.leaf_bytes}")

    @property
    def name(self) -> str:
        """The name that `parse_chunker` reads: ``fixed:1MiB``."""
        for unit, letters in ((MiB, "MiB"), (KiB, "KiB")):
            if self.leaf_bytes % unit == 0:
                return f"fixed:{self.leaf_bytes // unit}{letters}"
        return f"fixed:{self.leaf_bytes}"

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


def parse_chunker(text: str) -> FixedChunker:
    """Makes the chunker that ``text`` names. Raises UsageError, which lists the choices, for any other."""
    kind, colon, size = text.partition(":")
    try:
        leaf_bytes = parse_size(size) if (kind, colon) == ("fixed", ":") else 0
    except ValueError:
        leaf_bytes = 0
    for choice in (1 * MiB, 2 * MiB, 4 * MiB):
        if leaf_bytes == choice:
            return FixedChunker(choice)
    raise UsageError(f"{text[:80]!r} is no way to cut files", hint=f"choose one of {', '.join(CHOICES)}")
