"""The contract of a chunker: where files are cut into leaves (specs/0006 §8, specs/0003 §8).

Written for implementers. A chunker's name, with its parameters, is part of what makes a dataset's CID: the same name cuts the
same bytes at the same places, in every version, on every machine. Where a leaf ends may depend on the bytes since the leaf
before, and on whether the file ends, on nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable


class Chunker(ABC):
    """Cuts files. Immutable and thread-safe."""

    name: str  # canonical, with its parameters: "fastcdc:256KiB"
    leaf_bytes_max: int  # of one leaf; at most LEAF_BYTES_MAX

    @abstractmethod
    def cut(self, data: memoryview, *, last: bool) -> list[int]:
        """Gives the lengths of the leaves that ``data`` begins with, in order, each 1 to ``leaf_bytes_max``.

        ``data`` begins where a leaf begins. With ``last``, the file ends with ``data``, and the lengths sum to all of it.
        Without, more may follow: the end of ``data``, less than ``leaf_bytes_max``, may be left over, and comes again with
        more behind it; it must be left if what follows could move the cut. Empty data gives []. Lets go of the interpreter
        lock while it works on more than a few KiB.
        """


@runtime_checkable
class SupportsKey(Protocol):
    """A chunker whose cuts can depend on a secret. Optional.

    Where content-defined cuts are the same for everybody, the lengths of encrypted leaves tell which file it is (restic's
    and Borg's lesson; eprint 2025/532). Encrypted datasets take a fixed chunker or a keyed one.
    """

    def keyed(self, key: bytes) -> Chunker:
        """Gives a chunker that cuts by ``key`` (32 bytes); its name is the same."""
