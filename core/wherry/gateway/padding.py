"""The padding files of torrents, for clients that ask a web seed for them (specs/0036 §2; BEP 19, BEP 47).

A hybrid torrent fills the last piece of a file up with a padding file, ``.pad/N`` of N zeros. Who knows of those makes them
himself; who does not takes them for files of the dataset, and would never end where they are not given.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from wherry.abc.transport import Held
from wherry.gateway.frames import Stretch
from wherry.torrent.metainfo import PIECE_BYTES_MAX
from wherry.units import KiB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDER: Final = ".pad"
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_STRETCH_BYTES: Final = 256 * KiB


class _Zeros(Held):
    def __init__(self, size: int) -> None:
        self.size = size

    def read_into(self, view: memoryview) -> None:
        view[:] = bytes(len(view))


def padding_bytes(parts: Sequence[str]) -> int | None:
    """Gives the length of the padding file that a path from the root on ends with; None: it ends with none.

    A torrent of wherry's has none that is as long as a piece.
    """
    if len(parts) < 2 or parts[-2] != FOLDER or not _NUMBER.fullmatch(parts[-1]):
        return None
    size = int(parts[-1])
    return size if size < PIECE_BYTES_MAX else None


def zeros(start: int, stop: int) -> Iterator[Stretch]:
    """Gives the bytes of a padding file from ``start`` to ``stop``, as `wherry.gateway.files.content` gives those of a file."""
    for at in range(start, stop, _STRETCH_BYTES):
        size = min(_STRETCH_BYTES, stop - at)
        yield Stretch(_Zeros(size), size)
