"""The compressor. What it decodes comes from strangers: its size is known beforehand, and nothing is taken beyond it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from wherry.abc.compressor import Compressor
from wherry.errors import DecodeError

if TYPE_CHECKING:
    from wherry.cid import Bytes

PIECE: Final = 64 * 1024  # bytes decoded at a time, on their way into the view


class ZlibCompressor(Compressor):
    """zlib streams (RFC 1950). Stateless, so every thread may use it; zlib lets go of the interpreter lock."""

    levels = tuple(range(1, 10))

    def __init__(self, level: int = 1) -> None:
        self._level = level

    def compress(self, data: Bytes, *, level: int | None = None) -> bytes:
        """See `Compressor.compress`."""
        return zlib.compress(data, self._level if level is None else level)

    def decompress_into(self, coded: Bytes, view: memoryview) -> None:
        """See `Compressor.decompress_into`."""
        stream, rest, at = zlib.decompressobj(), coded, 0
        try:
            while not stream.eof:
                # One byte more than there is room for, so that a stream of the right length comes to its end, with its sum.
                piece = stream.decompress(rest, min(PIECE, len(view) - at + 1))
                if at + len(piece) > len(view):
                    raise DecodeError(f"the coded bytes stand for more than {len(view)}")
                view[at : at + len(piece)] = piece
                at += len(piece)
                rest = stream.unconsumed_tail
                if not piece and not rest and not stream.eof:
                    raise DecodeError("the coded bytes are cut short")
        except zlib.error as problem:
            raise DecodeError(f"the coded bytes are not zlib's: {problem}") from problem
        if at != len(view) or stream.unused_data:
            raise DecodeError(f"the coded bytes stand for {at} bytes, not {len(view)}, or go on behind their end")
