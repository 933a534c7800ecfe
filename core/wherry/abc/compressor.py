"""The contract of a compressor: a coding of one block's bytes, at rest or on one hop (specs/0006 §6, specs/0015; D1).

Written for implementers. A coding never changes a CID: core undoes it within a known size, and verifies what comes out. The
provider's name is a format identifier for ever: what it once coded must stay readable, so a changed format is a new name.
Every method is synchronous, thread-safe, and lets go of the interpreter lock while it works on more than a few KiB.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from wherry.cid import Bytes


class Compressor(ABC):
    """Codes blocks into fewer bytes, and back."""

    levels: ClassVar[tuple[int, ...]]  # from the fastest to the densest; at least one

    @abstractmethod
    def compress(self, data: Bytes, *, level: int | None = None) -> bytes:
        """Codes ``data`` (1 byte to LEAF_BYTES_MAX). ``level`` is one of ``levels``; None: as configured.

        May give more bytes than it took: core then sends or keeps the plain ones. Never raises for any ``data``.
        """

    @abstractmethod
    def decompress_into(self, coded: Bytes, view: memoryview) -> None:
        """Undoes `compress`: fills ``view``, which has exactly the plain size (at least 1 byte).

        ``coded`` are foreign bytes. Raises DecodeError if they are cut short, go on behind their end, or stand for more or
        fewer bytes than ``view`` has; and nothing else. Must not take memory beyond ``view`` for what ``coded`` claims, only
        a window of at most 8 MiB (specs/0015 §4).
        """


@runtime_checkable
class SupportsVariant(Protocol):
    """A compressor that, by its options, needs something at both ends, such as a dictionary. Optional.

    What it codes is called ``NAME+VARIANT``, and is decoded only where the same is configured. It MUST also decode what was
    coded without, by the plain name.
    """

    @property
    def variant(self) -> str:
        """Says which, in 1 to 40 of ``a-z0-9.-``: other contents, another text. Empty: it needs nothing."""
