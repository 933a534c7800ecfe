"""LZ4 (specs/0015 §6): one block of the LZ4 block format a block, without a size before it.

The block format, not the frame format: the decoder is told the plain size and writes no byte beyond it; it must find its end
at the last byte of its input. So what is cut short, goes on, or stands for more or fewer bytes is an error by itself.
https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import lz4.block  # type: ignore[import-untyped]  # it ships no types

from wherry.abc.compressor import Compressor
from wherry.errors import DecodeError

if TYPE_CHECKING:
    from wherry.cid import Bytes
    from wherry_compress.options import Lz4Options

_DENSE_MIN: Final = 3  # LZ4 HC begins here; it knows levels up to 12


class Lz4Compressor(Compressor):
    """Stateless, so every thread may use it at once; the library lets go of the interpreter lock while it works."""

    levels = (1, 4, 9)

    def __init__(self, options: Lz4Options) -> None:
        self._level = options.level

    def compress(self, data: Bytes, *, level: int | None = None) -> bytes:
        """See `Compressor.compress`."""
        chosen = self._level if level is None else level
        mode: dict[str, Any] = {"mode": "high_compression", "compression": chosen} if chosen >= _DENSE_MIN else {}
        coded: bytes = lz4.block.compress(data, store_size=False, **mode)
        return coded

    def decompress_into(self, coded: Bytes, view: memoryview) -> None:
        """See `Compressor.decompress_into`. The library writes into memory of its own, of the plain size."""
        try:
            plain = lz4.block.decompress(coded, uncompressed_size=len(view))
        except (lz4.block.LZ4BlockError, ValueError) as problem:  # ValueError: no bytes at all
            raise DecodeError(f"{len(coded)} bytes are no LZ4 block of {len(view)}") from problem
        if len(plain) != len(view):
            raise DecodeError(f"{len(coded)} bytes of LZ4 stand for {len(plain)}, not {len(view)}")
        view[:] = plain
