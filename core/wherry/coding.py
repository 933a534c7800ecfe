"""Codings: compressors around blocks, chosen and bounded by core (specs/0015)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.abc.compressor import Compressor
from wherry.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.cid import Bytes


class Identity(Compressor):
    """Codes nothing."""

    levels = (0,)

    def compress(self, data: Bytes, *, level: int | None = None) -> bytes:
        """See `Compressor.compress`."""
        del level
        return bytes(data)

    def decompress_into(self, coded: Bytes, view: memoryview) -> None:
        """See `Compressor.decompress_into`."""
        if len(coded) != len(view):
            raise DecodeError(f"coded as identity, {len(coded)} bytes stand for {len(view)}")
        view[:] = coded


class Codings:
    """What a node codes with, and what it can decode."""

    def __init__(self, preferred: str = "identity", build: Callable[[str], Compressor] | None = None) -> None:
        self.preferred = preferred
        self._build = build
